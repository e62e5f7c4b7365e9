/** Channels of a relay client: numbers, binding, refreshing, running out (RL-99 to RL-104). */
import { after, earliest, formatSocketAddress, type Instant, type SocketAddress } from "../base/index.ts";
import {
  BUFFERED_PEERS_MAX,
  CHANNEL_COOLING_MS,
  CHANNEL_FIRST,
  CHANNEL_LAST,
  CHANNEL_LIFE_MS,
  CHANNEL_REFRESH_MS,
  NUISANCE_MS,
  REFUSED_PEER_MS,
  REFUSED_PEERS_MAX,
} from "./constants.ts";
import { type Channel, isTimeToWarn, peerKey, type RelayClientState } from "./relay-client-state.ts";
import { canSign, sendRequest } from "./relay-requests.ts";

const CHANNELS = CHANNEL_LAST - CHANNEL_FIRST + 1;

/** RL-99. The request goes out before anything on the channel. */
export function bindChannel(state: RelayClientState, now: Instant, peer: SocketAddress): void {
  const { phase } = state;
  switch (phase.kind) {
    case "suspended":
    case "freed":
    case "closed":
      return;
    case "probing":
    case "allocating":
      return bufferPeer(state, peer);
    case "active": {
      if (!phase.relayed.some(({ address }) => address.address.length === peer.address.length)) return;
      if (isRefused(state, now, peer) || !canSign(state, now)) return;
      const known = state.channelOf.get(peerKey(peer));
      if (known !== undefined && (known.isBinding || isLive(known, now))) return;
      // The relay keeps number and peer together while they cool down (RL-100).
      const channel =
        known !== undefined && !isForgotten(known, now) ? known : createChannel(state, now, peer);
      if (channel !== undefined) sendBind(state, now, channel);
    }
  }
}

export function bufferPeer({ buffered }: RelayClientState, peer: SocketAddress): void {
  const key = peerKey(peer);
  if (buffered.has(key)) return;
  const [oldest] = buffered.keys();
  if (buffered.size >= BUFFERED_PEERS_MAX && oldest !== undefined) buffered.delete(oldest);
  buffered.set(key, copyOfAddress(peer));
}

/** The allocation is there (RL-86). */
export function bindBuffered(state: RelayClientState, now: Instant): void {
  const peers = [...state.buffered.values()];
  state.buffered.clear();
  for (const peer of peers) bindChannel(state, now, peer);
}

export function channelTo(state: RelayClientState, now: Instant, peer: SocketAddress): number | undefined {
  const channel = state.channelOf.get(peerKey(peer));
  return channel !== undefined && isLive(channel, now) ? channel.number : undefined;
}

export function peerOf(state: RelayClientState, now: Instant, number: number): SocketAddress | undefined {
  const channel = state.channels.get(number);
  if (channel === undefined || !isLive(channel, now)) return undefined;
  state.lastReceivedAt = now;
  noteUse(state, now, channel);
  return channel.peer;
}

export function noteChannelDataSent(state: RelayClientState, now: Instant, number: number): void {
  const channel = state.channels.get(number);
  if (channel === undefined) return;
  state.lastDataSentAt = now;
  noteUse(state, now, channel);
}

function noteUse(state: RelayClientState, now: Instant, channel: Channel): void {
  if (channel.isUsed) return;
  channel.isUsed = true;
  if (channel.boundAt === undefined) return;
  state.rebindAt = earliest(state.rebindAt, after(channel.boundAt, CHANNEL_REFRESH_MS));
  rebindDue(state, now);
}

/** Binds again what is used, in time (RL-102). */
export function rebindDue(state: RelayClientState, now: Instant): void {
  if (state.rebindAt === undefined || now < state.rebindAt) return;
  state.rebindAt = undefined;
  if (state.phase.kind !== "active" || !canSign(state, now)) return;
  for (const channel of state.channels.values()) {
    const { boundAt } = channel;
    if (!channel.isUsed || channel.isBinding || boundAt === undefined || !isLive(channel, now)) continue;
    const due = after(boundAt, CHANNEL_REFRESH_MS);
    if (due <= now) sendBind(state, now, channel);
    else state.rebindAt = earliest(state.rebindAt, due);
  }
}

export function noteBound(channel: Channel, now: Instant): void {
  channel.boundAt = now;
  channel.isBinding = false;
  channel.isUsed = false;
}

/** The relay does not want that peer (RL-97). */
export function refusePeer(state: RelayClientState, now: Instant, channel: Channel): void {
  const { refused } = state;
  forgetChannel(state, channel);
  const key = peerKey(channel.peer);
  refused.delete(key);
  const [oldest] = refused.keys();
  if (refused.size >= REFUSED_PEERS_MAX && oldest !== undefined) refused.delete(oldest);
  refused.set(key, after(now, REFUSED_PEER_MS));
  state.events.push({ kind: "channel-failed", peer: channel.peer });
}

/** With their allocation all channels are gone, from the relay too and without cooling (RL-29, RL-98). */
export function forgetChannels(state: RelayClientState): void {
  state.channels.clear();
  state.channelOf.clear();
  state.rebindAt = undefined;
}

function sendBind(state: RelayClientState, now: Instant, channel: Channel): void {
  if (state.phase.kind !== "active") return;
  channel.isBinding = true;
  sendRequest(state, now, { purpose: { kind: "bind", channel }, to: state.phase.socket });
}

function createChannel(state: RelayClientState, now: Instant, peer: SocketAddress): Channel | undefined {
  for (const channel of [...state.channels.values()]) {
    if (isForgotten(channel, now)) forgetChannel(state, channel);
  }
  const number = freeNumber(state);
  if (number === undefined) {
    if (isTimeToWarn(state, now, "channels", NUISANCE_MS)) {
      state.log.warn?.("no free channel", { peer: formatSocketAddress(peer) });
    }
    return undefined;
  }
  const channel: Channel = {
    number,
    peer: copyOfAddress(peer),
    sentAt: now,
    boundAt: undefined,
    isBinding: false,
    isUsed: false,
  };
  state.channels.set(number, channel);
  state.channelOf.set(peerKey(peer), channel);
  return channel;
}

/** Going round brings the numbers first that were never used, then those that rested longest (RL-100). */
function freeNumber(state: RelayClientState): number | undefined {
  for (let tries = 0; tries < CHANNELS; tries++) {
    const number = state.nextChannel;
    state.nextChannel = number === CHANNEL_LAST ? CHANNEL_FIRST : number + 1;
    if (!state.channels.has(number)) return number;
  }
  return undefined;
}

function forgetChannel(state: RelayClientState, channel: Channel): void {
  state.channels.delete(channel.number);
  const key = peerKey(channel.peer);
  if (state.channelOf.get(key) === channel) state.channelOf.delete(key);
}

function isLive(channel: Channel, now: Instant): boolean {
  return now < after(channel.sentAt, CHANNEL_LIFE_MS);
}

/** The relay has forgotten it, too. */
function isForgotten({ boundAt, sentAt, isBinding }: Channel, now: Instant): boolean {
  return !isBinding && now >= after(boundAt ?? sentAt, CHANNEL_LIFE_MS + CHANNEL_COOLING_MS);
}

function isRefused({ refused }: RelayClientState, now: Instant, peer: SocketAddress): boolean {
  const until = refused.get(peerKey(peer));
  return until !== undefined && now < until;
}

/** Addresses of peers may live in a buffer that is used again. */
function copyOfAddress({ address, port }: SocketAddress): SocketAddress {
  return { address: address.slice(), port };
}
