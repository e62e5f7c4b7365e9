/** Ways: the one place that sends along one, and that knows the channel of a relayed one (SN-84 to SN-86). */
import type { SocketAddress } from "../base/index.ts";
import type { PathRecord } from "../plane/index.ts";
import { CHANNEL_HEADER_BYTES, encodeChannelData } from "../turn/index.ts";
import { type ConnectionsState, count, type Relay, type Way } from "./state.ts";

/** The way between two addresses: relayed if a relay has lent us `source` (SN-83). */
export function wayOf(
  state: ConnectionsState,
  { source, destination }: { readonly source: SocketAddress; readonly destination: SocketAddress },
): Way {
  for (const relay of state.relays.values()) {
    if (relay.client.ownsRelayed(source)) return { source, destination, relay };
  }
  return { source, destination, relay: undefined };
}

/**
 * Queues a datagram. On a relayed way without a channel one is bound, and the datagram follows the request
 * (SN-86, RL-101). @returns bytes sent, 0 if it was dropped
 */
export function sendAlong(state: ConnectionsState, way: Way, bytes: Uint8Array, isWhole = false): number {
  const { source, destination, relay } = way;
  const whole = isWhole ? { isWhole } : {};
  if (relay === undefined) {
    state.transmits.push({ source: source.address, destination, bytes, ...whole });
    return bytes.length;
  }
  const socket = relay.client.activeSocket();
  const channel = relay.isGone ? undefined : (channelOf(state, way) ?? bindChannel(state, way));
  if (socket === undefined || channel === undefined) {
    count(state, relay.isGone ? "tx_no_relay" : "tx_no_channel");
    return 0;
  }
  const wrapped = new Uint8Array(CHANNEL_HEADER_BYTES + bytes.length);
  encodeChannelData(wrapped, { channel, data: bytes });
  state.transmits.push({ destination: socket, bytes: wrapped, ...whole });
  relay.client.noteChannelDataSent(state.now, channel);
  flushRelay(state, relay);
  return wrapped.length;
}

/** Where a way's datagrams go from here: the peer, or the relay's socket, if it has one. */
export function firstHop({
  destination,
  relay,
}: Pick<Way, "destination" | "relay">): SocketAddress | undefined {
  return relay === undefined ? destination : relay.client.activeSocket();
}

/** The channel of a relayed way, bound or in flight (SN-86). */
export function channelOf(state: ConnectionsState, { relay, destination }: Way): number | undefined {
  return relay === undefined || relay.isGone ? undefined : relay.client.channelTo(state.now, destination);
}

/** Idempotent and silent (SN-87). @returns the channel, unless the peer must wait or is refused */
export function bindChannel(
  state: ConnectionsState,
  { relay, destination }: Omit<Way, "source">,
): number | undefined {
  if (relay === undefined || relay.isGone) return undefined;
  relay.client.bindChannel(state.now, destination);
  flushRelay(state, relay);
  return relay.client.channelTo(state.now, destination);
}

/** What a relay client has to send goes behind all that was queued before it (SN-124). */
export function flushRelay(state: ConnectionsState, { client }: Relay): void {
  for (let sent = client.pollTransmit(); sent !== undefined; sent = client.pollTransmit()) {
    state.relayBytesSent += sent.datagram.length;
    state.transmits.push({ destination: sent.to, bytes: sent.datagram });
  }
}

/** What the plane must know to send data along a way: also how much room a header needs (SN-85, RL-105, D-7). */
export function recordOf(
  state: ConnectionsState,
  way: Way | undefined,
  { isIdle, generation }: { readonly isIdle: boolean; readonly generation: number },
): PathRecord {
  if (way === undefined) return { kind: "none", headRoom: 0, isIdle, isBroken: false, generation };
  const { source, destination, relay } = way;
  if (relay === undefined) {
    return {
      kind: "direct",
      destination,
      source: source.address,
      headRoom: 0,
      isIdle,
      isBroken: false,
      generation,
    };
  }
  const socket = relay.client.activeSocket();
  const channel = channelOf(state, way);
  // Nothing goes through another relay to the same peer: it would not know where that comes from (SN-89).
  if (socket === undefined || channel === undefined) {
    return { kind: "none", headRoom: 0, isIdle, isBroken: true, generation };
  }
  return { kind: "relayed", destination: socket, channel, headRoom: 4, isIdle, isBroken: false, generation };
}
