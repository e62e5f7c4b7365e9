/** What comes from relays: their answers, and datagrams of peers in channel data (SN §5.7, rows 1 and 2). */
import { formatIp, formatSocketAddress, type SocketAddress } from "../base/index.ts";
import { isStunShaped } from "../stun/index.ts";
import { CHANNEL_LAST, parseChannelData, parseTurn } from "../turn/index.ts";
import { RELAY_PORT } from "./constants.ts";
import type { ConnectionCounter, Datagram, DatagramOutcome } from "./face.ts";
import { drainRelay, touchStale } from "./relays.ts";
import { type ConnectionsState, count, type Relay } from "./state.ts";

/** What is left to do with a datagram: nothing, or what a peer sent. */
export type Arrival =
  | { readonly kind: "done"; readonly outcome: DatagramOutcome }
  | { readonly kind: "from-peer"; readonly datagram: Datagram };

const CONSUMED: Arrival = { kind: "done", outcome: { kind: "consumed" } };

/** Tells relays from peers: by their sockets, and late ones by port 3478 and IP address (SN-99, RL-110). */
export function unwrap(state: ConnectionsState, datagram: Datagram): Arrival {
  const { from, bytes, relayed } = datagram;
  if (relayed !== undefined) return fromChannel(state, datagram, relayed);
  const relay = state.relayAt.get(formatSocketAddress(from));
  if (relay === undefined && from.port !== RELAY_PORT) return { kind: "from-peer", datagram };
  if (isStunShaped(bytes)) {
    if (relay !== undefined) return handleAnswer(state, relay, datagram);
    const isLate = state.formerRelays.includes(formatIp(from.address));
    return isLate ? drop(state, from, "late_relay_stun") : { kind: "from-peer", datagram };
  }
  const channelData = parseChannelData(bytes, CHANNEL_LAST);
  if (!channelData.ok) return { kind: "from-peer", datagram };
  // No peer sends such a thing: it is what a relay that we left still sends (SN-100).
  if (relay === undefined) return drop(state, from, "late_channel_data");
  const { channel, data } = channelData.value;
  return fromChannel(state, { ...datagram, bytes: data }, { relay: from, channel });
}

/** A relay's own sockets say nothing but STUN to us: consumed, accepted or not. */
function handleAnswer(state: ConnectionsState, relay: Relay, { from, local, bytes }: Datagram): Arrival {
  const message = parseTurn(bytes);
  if (!message.ok) return drop(state, from, "stun_malformed");
  const isOurs = relay.client.handleStun(state.now, { from, local, message: message.value });
  drainRelay(state, relay);
  touchStale(state, relay);
  return isOurs ? CONSUMED : drop(state, from, "stun_unmatched");
}

/** To ICE and WireGuard it came from the peer to our address on the relay (RL-104). */
function fromChannel(
  state: ConnectionsState,
  datagram: Datagram,
  { relay: socket, channel }: { readonly relay: SocketAddress; readonly channel: number },
): Arrival {
  const relay = state.relayAt.get(formatSocketAddress(socket));
  if (relay === undefined) return drop(state, socket, "late_channel_data");
  const peer = relay.client.peerOf(state.now, channel);
  const own = peer === undefined ? undefined : relay.client.relayed(peer.address.length);
  drainRelay(state, relay);
  if (peer === undefined || own === undefined) return drop(state, socket, "channel_unknown");
  const { bytes, isJudged } = datagram;
  return {
    kind: "from-peer",
    datagram: { local: own, from: peer, bytes, ...(isJudged !== undefined && { isJudged }) },
  };
}

function drop(state: ConnectionsState, from: SocketAddress, counter: ConnectionCounter): Arrival {
  count(state, counter);
  state.log.debug?.("relay traffic dropped", { from: formatSocketAddress(from), counter });
  return { kind: "done", outcome: { kind: "dropped", counter } };
}
