import { GATEWAY_DNS_PORT } from "./constants.ts";

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

/**
 * Whether a validated packet is for one of the two services of a gateway that every client may use:
 * echo, and the in-tunnel name servers (TN-61 row 6). Extension headers make it neither.
 */
export function isHostService(packet: Uint8Array): boolean {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const protocol = packet[isV6 ? 6 : 9];
  const transport = isV6 ? 40 : ((packet[0] ?? 0) & 15) * 4;
  if (protocol === (isV6 ? ICMPV6 : ICMP)) return packet[transport] === (isV6 ? 128 : 8);
  if (protocol !== TCP && protocol !== UDP) return false;
  const port = ((packet[transport + 2] ?? 0) << 8) | (packet[transport + 3] ?? 0);
  return port === GATEWAY_DNS_PORT;
}
