import { ECHO_REQUEST, PROTOCOL, viewPacket } from "../packet/index.ts";
import { GATEWAY_DNS_PORT } from "./constants.ts";

/**
 * Whether a validated packet is for one of the two services of a gateway that every client may use:
 * echo, and the in-tunnel name servers (TN-61 row 6).
 */
export function isHostService(packet: Uint8Array): boolean {
  const { family, protocol, transport, ports } = viewPacket(packet);
  switch (protocol) {
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return transport[0] === ECHO_REQUEST[family];
    case PROTOCOL.tcp:
    case PROTOCOL.udp:
      return ports?.destination === GATEWAY_DNS_PORT;
    default:
      return false;
  }
}
