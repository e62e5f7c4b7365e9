/** What comes from the tunnel to the ports of our queries (DN-68). */
import { equalIp, type Instant } from "../base/index.ts";
import { PROTOCOL, parseIcmpQuote, parsePacket, viewPacket } from "../packet/index.ts";
import { UDP_HEADER_BYTES } from "./constants.ts";
import { acceptResponse, giveUp } from "./flights.ts";
import { count, type ResolverState, type TunnelPort } from "./resolver-state.ts";
import { abortStream, drainStreams } from "./stream-answers.ts";

/** Whether a packet from the tunnel is for one of our ports; then it goes no further. */
export function handleTunnelPacket(state: ResolverState, now: Instant, packet: Uint8Array): boolean {
  const view = viewPacket(packet);
  if (view.protocol === PROTOCOL.icmp || view.protocol === PROTOCOL.icmpv6)
    return handleIcmp(state, now, packet);
  if (view.ports === undefined) return false;
  const port = view.ports.destination;
  const open = state.ports.get(port);
  const isTheirs =
    open !== undefined &&
    view.protocol === PROTOCOL[open.flow.protocol] &&
    view.ports.source === open.flow.remote.port &&
    equalIp(view.source, open.flow.remote.address) &&
    equalIp(view.destination, open.flow.local.address);
  if (!isTheirs) return false;
  if (open.flow.protocol === "tcp") {
    state.tunnelTcp.handlePacket(now, packet.slice());
    drainStreams(state, now);
    return true;
  }
  const { flight } = open;
  const sent = flight?.attempts.find((one) => one.kind === "tunnel" && one.port === port);
  if (flight === undefined || sent === undefined) {
    count(state, "dns_stray");
    return true;
  }
  const length = ((view.transport[4] ?? 0) << 8) | (view.transport[5] ?? 0);
  const bytes = view.transport.slice(UDP_HEADER_BYTES, length);
  if (!acceptResponse(state, now, flight, { id: sent.id, bytes, ageS: 0 })) count(state, "dns_stray");
  return true;
}

/** An error about one of our packets ends its query at once. */
function handleIcmp(state: ResolverState, now: Instant, packet: Uint8Array): boolean {
  const found = parsePacket(packet, { limitBytes: packet.length, mode: "plain" });
  const quote = found.ok ? parseIcmpQuote(packet, found.value) : undefined;
  if (!quote?.ok || quote.value?.ports === undefined) return false;
  const { source, destination, ports, protocol } = quote.value;
  const open: TunnelPort | undefined = state.ports.get(ports.source);
  const isOurs =
    open !== undefined &&
    protocol === PROTOCOL[open.flow.protocol] &&
    ports.destination === open.flow.remote.port &&
    equalIp(source, open.flow.local.address) &&
    equalIp(destination, open.flow.remote.address);
  if (!isOurs) return false;
  if (open.flight !== undefined) giveUp(state, now, open.flight, "network");
  for (const stream of [...state.tunnelStreams.values()]) {
    if (stream.port === ports.source) abortStream(state, now, stream);
  }
  drainStreams(state, now);
  return true;
}
