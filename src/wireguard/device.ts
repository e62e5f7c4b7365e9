/** The WireGuard machine: see `device-face.ts` for how to drive it. */
import {
  copyOf,
  equalBytes,
  type Instant,
  malformed,
  type PlaneCommand,
  type PlaneEvent,
  parsed,
  SILENT,
  toBase64,
  type UnixMs,
} from "../base/index.ts";
import { sendKeepaliveNow, startNow } from "./attempt.ts";
import { HANDSHAKE_LIMIT, KEEPALIVE_BYTES, PEERS_MAX } from "./constants.ts";
import { createLoadGuard } from "./cookie.ts";
import { createDeadlineQueue } from "./deadline-queue.ts";
import type { DeviceCore } from "./device-core.ts";
import type { PeerRef, WgDevice, WgDeviceOptions, WgPeerStats, WgTransmit } from "./device-face.ts";
import { createIncoming } from "./incoming.ts";
import { encodeTransport } from "./messages.ts";
import { createOwnIdentity, createRemoteIdentity } from "./noise.ts";
import { createPeer, type Peer, usableSession } from "./peer.ts";
import { createPeerTable } from "./peer-table.ts";
import { NOBLE_CRYPTO, nonceOf } from "./primitives.ts";
import { createDropCounts } from "./reasons.ts";
import { flushStaged, forgetAttempt, makeCurrent, retireAllSessions, stagePacket } from "./sessions.ts";
import { fireTriggers, nextDeadline } from "./timers.ts";

const NOTHING = new Uint8Array(0);

export function createWgDevice(options: WgDeviceOptions): WgDevice {
  const crypto = options.crypto ?? NOBLE_CRYPTO;
  const { random, records } = options;
  const core: DeviceCore = {
    crypto,
    random,
    records,
    log: (options.log ?? SILENT).scope("wireguard"),
    unixEpoch: (options.unixMs - options.now) as UnixMs,
    commands: [],
    transmits: [],
    events: [],
    drops: createDropCounts(),
    own: options.staticKey && createOwnIdentity(crypto, copyOf(options.staticKey)),
    nextGeneration: 1,
  };
  const peers = createPeerTable(random, options.peersMax ?? PEERS_MAX);
  const queue = createDeadlineQueue<Peer>();
  const guard = createLoadGuard({ crypto, random, limit: options.handshakeLimit ?? HANDSHAKE_LIMIT });
  const incoming = createIncoming(core, peers, guard);
  let lastNow = options.now;
  let carriedOut: PlaneCommand | undefined;

  /** Runs `change` on a known peer and brings its deadline up to date. */
  function withPeer(now: Instant, ref: PeerRef, change: (peer: Peer) => void): void {
    const peer = peers.find(ref);
    if (peer === undefined) return;
    change(peer);
    reschedule(peer, now);
  }

  function reschedule(peer: Peer, now: Instant): void {
    lastNow = now;
    const { deadline, needsWatch } = nextDeadline(core, peer, now);
    if (needsWatch && !peer.isWatchArmed) {
      peer.isWatchArmed = true;
      core.commands.push({ kind: "arm-watch", slot: peer.ref.slot });
    }
    peer.dueReason = deadline?.reason ?? "";
    queue.set(peer, deadline?.at as Instant | undefined);
  }

  function remove(now: Instant, peer: Peer): void {
    forgetAttempt(peer);
    retireAllSessions(core, peer);
    peer.cookie?.value.fill(0);
    peer.presharedKey?.fill(0);
    queue.set(peer, undefined);
    peers.remove(now, peer);
    core.commands.push({ kind: "remove-peer", slot: peer.ref.slot });
  }

  /** What becomes of a command once the caller has carried it out: it asks for the next one. */
  function finishCommand(command: PlaneCommand | undefined): void {
    if (command?.kind === "install") {
      command.session.sendKey.fill(0);
      command.session.receiveKey.fill(0);
    } else if (command?.kind === "arm-watch") {
      // What happened between reading the block and arming the watch is seen now (WG-50).
      const peer = peers.bySlot(command.slot);
      if (peer !== undefined) reschedule(peer, lastNow);
    }
  }

  function sealKeepalive(ref: PeerRef, local: number, at: Instant): WgTransmit | undefined {
    const peer = peers.find(ref);
    const session = peer?.sessions.find((candidate) => candidate?.local === local);
    const counter = session && records.takeCounter(ref.slot, local);
    if (session === undefined || counter === undefined) return undefined;
    const sealed = crypto.seal(session.sendKey, nonceOf(counter), NOTHING, NOTHING);
    const datagram = encodeTransport({ receiver: session.remote, counter, sealed });
    records.noteSent(ref.slot, at, KEEPALIVE_BYTES);
    return { kind: "keepalive", peer: ref, datagram, isRetransmission: false };
  }

  function confirm(peer: Peer, now: Instant, generation: number): void {
    const session = peer.sessions.find((candidate) => candidate?.generation === generation);
    if (session === undefined || session.isConfirmed) return;
    session.isConfirmed = true;
    if (peer.current !== undefined && peer.current.generation > generation) return;
    // A handshake that was only wished for has its answer; a running one goes on (WG-28).
    if (peer.attempt.kind === "scheduled") forgetAttempt(peer);
    makeCurrent(core, peer, now, session);
    flushStaged(core, peer, now);
    core.events.push({ kind: "established", peer: peer.ref, isInitiator: false });
  }

  function applyPlaneEvent(peer: Peer, now: Instant, event: PlaneEvent): void {
    if (event.kind === "activity") {
      peer.isWatchArmed = false;
      peer.lastWatchAt = now;
    } else if (event.kind === "confirmed") {
      confirm(peer, now, event.generation);
    } else if (event.kind === "counter") {
      const session = peer.sessions.find((candidate) => candidate?.generation === event.generation);
      if (session === undefined) return;
      if (event.limit === "reject") session.isExhausted = true;
      if (session === peer.current && session.isInitiator) peer.wantsRekey = true;
    }
  }

  return {
    addPeer(now, peerOptions) {
      const created = createRemote(core, peerOptions);
      if (!created.ok) return created;
      const ref = peers.allocate(now);
      if (ref === undefined) return malformed("full");
      const { presharedKey } = peerOptions;
      const peer = createPeer({
        now,
        ref,
        options: { ...peerOptions, ...(presharedKey && { presharedKey: copyOf(presharedKey) }) },
        remote: created.value,
        stamps: peers.stampsOf(peerOptions.publicKey),
        log: core.log.scope(
          "wireguard",
          peerOptions.logFields ?? { peer: toBase64(peerOptions.publicKey).slice(0, 8) },
        ),
      });
      peers.add(peer);
      core.commands.push({ kind: "add-peer", ...ref });
      if (peer.keepaliveMs > 0) sendKeepaliveNow(core, peer, now);
      reschedule(peer, now);
      return parsed(ref);
    },
    removePeer(now, ref) {
      const peer = peers.find(ref);
      if (peer !== undefined) remove(now, peer);
    },
    setStaticKey(now, key) {
      core.own?.pair.erase();
      core.own = key && createOwnIdentity(crypto, copyOf(key));
      for (const peer of [...peers.all()]) {
        forgetAttempt(peer);
        retireAllSessions(core, peer);
        peer.cookie = undefined;
        peer.lastMessage = undefined;
        peer.lastSessionWasOurs = false;
        const remote = createRemote(core, peer);
        if (!remote.ok) {
          remove(now, peer);
          continue;
        }
        peer.remote = remote.value;
        reschedule(peer, now);
      }
    },
    setPresharedKey(now, ref, key) {
      withPeer(now, ref, (peer) => {
        peer.presharedKey?.fill(0);
        peer.presharedKey = key && copyOf(key);
      });
    },
    setKeepalive(now, ref, keepaliveMs) {
      withPeer(now, ref, (peer) => {
        const wasOff = peer.keepaliveMs === 0;
        peer.keepaliveMs = keepaliveMs;
        if (wasOff && keepaliveMs > 0) sendKeepaliveNow(core, peer, now);
      });
    },
    setReachable(now, ref, isReachable) {
      withPeer(now, ref, (peer) => {
        peer.isReachable = isReachable;
        if (isReachable && usableSession(peer, now) !== undefined) flushStaged(core, peer, now);
      });
    },
    setPathSuspect(now, ref, isSuspect) {
      withPeer(now, ref, (peer) => {
        peer.isSuspect = isSuspect;
      });
    },
    initiate(now, ref) {
      let isStarted = false;
      withPeer(now, ref, (peer) => {
        isStarted = startNow(core, peer, now, "asked for");
      });
      return isStarted;
    },
    handleStaged(now, ref, packet) {
      withPeer(now, ref, (peer) => {
        if (peer.attempt.kind === "expired") return;
        stagePacket(core, peer, packet);
        if (usableSession(peer, now) !== undefined) {
          flushStaged(core, peer, now);
          return;
        }
        if (peer.attempt.kind === "pending" && peer.policy.stagedRestartsAttempt) {
          peer.attempt = { ...peer.attempt, startedAt: now };
        }
        startNow(core, peer, now, "packet without session");
      });
    },
    handleHandshake(now, input) {
      const outcome = incoming.handle(now, input);
      const ref = outcome.kind === "cookie-asked" ? undefined : outcome.peer;
      if (ref !== undefined) withPeer(now, ref, () => {});
      return outcome;
    },
    handlePlaneEvent(now, event) {
      if (event.kind !== "activity" && event.kind !== "confirmed" && event.kind !== "counter") return;
      const peer = peers.bySlot(event.slot);
      if (peer === undefined || peer.attempt.kind === "expired") return;
      applyPlaneEvent(peer, now, event);
      reschedule(peer, now);
    },
    handleTimeout(now) {
      lastNow = now;
      for (;;) {
        const peer = queue.first();
        if (peer?.dueAt === undefined || peer.dueAt > now) return;
        fireTriggers(core, peer, now);
        reschedule(peer, now);
        // All that was due is done; a deadline that remains would be a defect, not a reason to spin.
        if (peer.dueAt !== undefined && peer.dueAt <= now) queue.set(peer, (now + 1) as Instant);
      }
    },
    pollTimeout() {
      const dueAt = queue.first()?.dueAt;
      return dueAt === undefined ? undefined : (Math.max(dueAt, lastNow) as Instant);
    },
    timeoutReason() {
      const peer = queue.first();
      return peer && `${toBase64(peer.publicKey).slice(0, 8)}: ${peer.dueReason}`;
    },
    pollTransmit() {
      for (;;) {
        const next = core.transmits.shift();
        if (next === undefined) return undefined;
        const transmit =
          next.kind === "ready" ? next.transmit : sealKeepalive(next.peer, next.local, next.at);
        if (transmit !== undefined) return transmit;
      }
    },
    pollCommand() {
      finishCommand(carriedOut);
      carriedOut = core.commands.shift();
      return carriedOut;
    },
    pollEvent: () => core.events.shift(),
    publicKey: () => core.own?.publicKey,
    peerByKey: (publicKey) => peers.byKey(publicKey)?.ref,
    peerById: (peerId) => peers.byId(peerId)?.ref,
    peerBySlot: (slot) => peers.bySlot(slot)?.ref,
    stats: (ref) => statsOf(core, peers.find(ref), ref, lastNow),
    drops: () => core.drops,
  };
}

/** The peer's side of the key agreement; `own-key` and `zero-dh` are refused (WG-6, WG-53). */
function createRemote(core: DeviceCore, { publicKey }: { readonly publicKey: Uint8Array }) {
  const { own } = core;
  if (own !== undefined && equalBytes(own.publicKey, publicKey)) return malformed("own-key");
  const remote = createRemoteIdentity(core.crypto, own, copyOf(publicKey));
  return remote === undefined ? malformed("zero-dh") : parsed(remote);
}

function statsOf(core: DeviceCore, peer: Peer | undefined, ref: PeerRef, now: Instant): WgPeerStats {
  const { txBytes, rxBytes } = core.records.activity(ref.slot);
  const current = peer?.current;
  const received = current && core.records.received(ref.slot, current.local);
  return {
    lastHandshake: peer?.lastHandshakeAt,
    txBytes,
    rxBytes,
    loss: received === undefined ? 0 : Math.max(0, 1 - received.packets / (received.highest + 1)),
    rttMs: peer?.rttMs,
    stagedPackets: peer?.staged.length ?? 0,
    hasUsableSession: peer !== undefined && usableSession(peer, now) !== undefined,
    drops: peer?.drops ?? {},
  };
}
