/** What the network sends, except data: checks by cost, then the state they change (section 5). */

import { equalSecret, type Instant, toHex } from "../base/index.ts";
import { agreedRemote } from "./agreement.ts";
import { sendHandshakeMessage, useCookie } from "./attempt.ts";
import { INIT_MIN_GAP_MS } from "./constants.ts";
import { openCookieReply } from "./cookie.ts";
import { countDrop, type DeviceCore } from "./device-core.ts";
import type { HandshakeInput, HandshakeOutcome } from "./device-face.ts";
import { queueKeepalive } from "./keepalive.ts";
import { type CookieReply, formatIndex, type Initiation, parseMessage, type Response } from "./messages.ts";
import {
  createResponse,
  type NoiseState,
  type OwnIdentity,
  openInitiator,
  openResponse,
  openStamp,
} from "./noise.ts";
import type { Peer, SentInitiation } from "./peer.ts";
import type { WgDropReason } from "./reasons.ts";
import { reschedule } from "./scheduling.ts";
import { flushStaged, forgetAttempt, installSession, makeCurrent, nextLocalIndex } from "./sessions.ts";
import { isGreaterStamp } from "./tai64n.ts";

/** Malformed datagrams are shown in the log at most that often (WG-22). */
const MALFORMED_LOG_GAP_MS = 1_000;
const MALFORMED_LOG_BYTES = 32;

/** One datagram that is not data; never throws, and a forged one changes nothing (WG-70). */
export function handleHandshake(core: DeviceCore, now: Instant, input: HandshakeInput): HandshakeOutcome {
  const outcome = judge(core, now, input);
  const ref = outcome.kind === "accepted" ? outcome.peer : undefined;
  const peer = ref && core.peers.find(ref);
  if (peer !== undefined) reschedule(core, peer, now);
  return outcome;
}

function judge(core: DeviceCore, now: Instant, input: HandshakeInput): HandshakeOutcome {
  const message = parseMessage(input.datagram);
  if (!message.ok) return dropMalformed(core, now, input.datagram);
  const { own } = core;
  if (own === undefined) return drop(core, "wg_no_key");
  switch (message.value.kind) {
    case "initiation":
      return (
        refuse(core, now, own, message.value, input) ??
        handleInitiation(core, now, own, message.value, input.datagram.length)
      );
    case "response":
      return (
        refuse(core, now, own, message.value, input) ?? handleResponse(core, now, own, message.value, input)
      );
    case "cookie-reply":
      return handleCookieReply(core, now, message.value);
    case "transport":
      // Data is the plane's; one that comes here was not meant for control.
      return drop(core, "wg_malformed");
  }
}

function drop(core: DeviceCore, reason: WgDropReason, peer?: Peer): HandshakeOutcome {
  countDrop(core, reason, peer);
  return peer === undefined ? { kind: "dropped", reason } : { kind: "dropped", reason, peer: peer.ref };
}

function dropMalformed(core: DeviceCore, now: Instant, datagram: Uint8Array): HandshakeOutcome {
  const { lastMalformedLog, log } = core;
  if (lastMalformedLog === undefined || now - lastMalformedLog >= MALFORMED_LOG_GAP_MS) {
    core.lastMalformedLog = now;
    log.debug?.("not a WireGuard message", { bytes: toHex(datagram.subarray(0, MALFORMED_LOG_BYTES)) });
  }
  return drop(core, "wg_malformed");
}

/** mac1, then load: what must hold before a message may cost a key operation (WG-22, WG-70). */
function refuse(
  core: DeviceCore,
  now: Instant,
  own: OwnIdentity,
  message: Initiation | Response,
  { source, relayed, isJudged = false }: HandshakeInput,
): HandshakeOutcome | undefined {
  const { macs } = message;
  if (!equalSecret(core.crypto.mac(own.mac1Key, macs.beforeMac1), macs.mac1))
    return drop(core, "wg_bad_mac1");
  if (isJudged) return undefined;
  const verdict = core.guard.judge(now, message, source);
  if (verdict === "pass") return undefined;
  if (verdict !== "ask-cookie") return drop(core, verdict);
  if (source === undefined) return drop(core, "wg_under_load");
  const datagram = core.guard.encodeReply(now, own, message, source);
  core.transmits.push({ kind: "cookie-reply", to: source, ...(relayed && { relayed }), datagram });
  return { kind: "cookie-asked" };
}

function handleInitiation(
  core: DeviceCore,
  now: Instant,
  own: OwnIdentity,
  initiation: Initiation,
  bytes: number,
): HandshakeOutcome {
  const caller = openInitiator(core.crypto, own, initiation);
  if (!caller.ok) return drop(core, caller.reason);
  const peer = core.peers.byKey(caller.value.publicKey);
  if (peer === undefined || peer.attempt.kind === "expired") return drop(core, "wg_unknown_peer");
  const proof = openStamp(core.crypto, agreedRemote(core, peer), caller.value, initiation);
  if (!proof.ok) return drop(core, proof.reason, peer);
  const { stamp } = proof.value;
  const { received } = peer.stamps;
  if (received !== undefined && !isGreaterStamp(stamp, received)) {
    return drop(core, "wg_replayed_timestamp", peer);
  }
  const isFlood = peer.lastConsumedAt !== undefined && now - peer.lastConsumedAt < INIT_MIN_GAP_MS;
  if (isFlood) return drop(core, "wg_flood", peer);
  return answer(core, now, peer, { initiation, bytes, state: proof.value, stamp });
}

/** WG-23: the session is installed before the response that announces it is sent (WG-52). */
function answer(
  core: DeviceCore,
  now: Instant,
  peer: Peer,
  call: {
    readonly initiation: Initiation;
    readonly bytes: number;
    readonly state: NoiseState;
    readonly stamp: Uint8Array;
  },
): HandshakeOutcome {
  const { initiation, state } = call;
  const { remote, presharedKey } = peer;
  const sender = nextLocalIndex(peer);
  const ephemeral = core.crypto.ephemeral(core.random);
  const noise = { state, remote, initiation, sender, ephemeral, presharedKey };
  const response = createResponse(core.crypto, noise);
  if (!response.ok) return drop(core, response.reason, peer);
  peer.stamps.received = call.stamp;
  peer.lastConsumedAt = now;
  noteReceived(core, peer, now, call.bytes);
  const { datagram, keys } = response.value;
  installSession(core, peer, now, { local: sender, remote: initiation.sender, isInitiator: false, keys });
  sendHandshakeMessage(core, peer, now, { kind: "response", sender, datagram, isRetransmission: false });
  core.events.push({ kind: "answered", peer: peer.ref });
  return { kind: "accepted", peer: peer.ref, message: "initiation" };
}

/** A response to one of our initiations becomes the current session (WG-26). */
function handleResponse(
  core: DeviceCore,
  now: Instant,
  own: OwnIdentity,
  response: Response,
  input: HandshakeInput,
): HandshakeOutcome {
  const peer = core.peers.byId(response.receiver >>> 8);
  if (peer === undefined) return drop(core, "wg_unexpected_response");
  const pending = answeredInitiation(peer, response.receiver);
  if (pending === undefined) return drop(core, "wg_unexpected_response", peer);
  const opened = openResponse(core.crypto, { own, pending, response, presharedKey: peer.presharedKey });
  if (!opened.ok) {
    if (opened.reason === "wg_bad_response") reportBadResponse(core, peer, response, input);
    return drop(core, opened.reason, peer);
  }
  const rttMs = now - pending.sentAt;
  const tookMs = peer.attempt.kind === "pending" ? now - peer.attempt.startedAt : rttMs;
  forgetAttempt(peer);
  noteReceived(core, peer, now, input.datagram.length);
  const session = installSession(core, peer, now, {
    local: response.receiver,
    remote: response.sender,
    isInitiator: true,
    keys: opened.value,
  });
  makeCurrent(core, peer, now, session);
  peer.rttMs = rttMs;
  // The responder needs one packet to confirm the session (WG-19).
  if (!flushStaged(core, peer, now)) queueKeepalive(core, peer, now, session);
  core.events.push({ kind: "established", peer: peer.ref, isInitiator: true, rttMs, tookMs });
  return { kind: "accepted", peer: peer.ref, message: "response" };
}

/** A response that fits but does not open tells of keys that disagree: no reason to try again (WG-24). */
function reportBadResponse(
  core: DeviceCore,
  peer: Peer,
  response: Response,
  { source }: HandshakeInput,
): void {
  const reason = "undecryptable-response";
  core.events.push({ kind: "handshake-failed", peer: peer.ref, reason, ...(source && { source }) });
  peer.log.info?.("handshake failed", { reason, index: formatIndex(response.receiver) });
}

/** A cookie is kept for mac2 of later messages; each mac1 that we sent accepts one reply (WG-30). */
function handleCookieReply(core: DeviceCore, now: Instant, reply: CookieReply): HandshakeOutcome {
  const peer = core.peers.byId(reply.receiver >>> 8);
  const last = peer?.lastMessage;
  if (peer === undefined || last?.sender !== reply.receiver || last.hasCookieReply) {
    return drop(core, "wg_unexpected_cookie", peer);
  }
  const value = openCookieReply(core.crypto, peer.remote, reply, last.mac1);
  if (value === undefined) return drop(core, "wg_bad_cookie", peer);
  last.hasCookieReply = true;
  peer.cookie = { value, receivedAt: now };
  useCookie(core, peer, now, reply.receiver);
  peer.log.debug?.("cookie received", { index: formatIndex(reply.receiver) });
  return { kind: "accepted", peer: peer.ref, message: "cookie-reply" };
}

function noteReceived(core: DeviceCore, peer: Peer, now: Instant, bytes: number): void {
  peer.receivedAt = now;
  core.records.noteReceived(peer.ref.slot, now, bytes);
}

/** Which of our last initiations a response is to (WG-25). */
function answeredInitiation({ attempt }: Peer, receiver: number): SentInitiation | undefined {
  if (attempt.kind !== "pending") return undefined;
  return [attempt.latest, ...attempt.earlier].find(({ sender }) => sender === receiver);
}
