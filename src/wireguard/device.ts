/** The WireGuard machine: see `device-face.ts` for how to drive it. */
import {
  copyOf,
  createDeadlineQueue,
  createQueue,
  type Instant,
  SILENT,
  type UnixMs,
  unixMs,
} from "../base/index.ts";
import { sendKeepaliveNow, startNow } from "./attempt.ts";
import { handleCarriedOut } from "./carried-out.ts";
import { DEFAULT_PEERS_MAX, HANDSHAKE_LIMIT, SESSIONS_PER_PEER_AVERAGE } from "./constants.ts";
import { createLoadGuard } from "./cookie.ts";
import type { DeviceCore } from "./device-core.ts";
import type { PeerRef, WgDevice, WgDeviceOptions, WgPeerStats } from "./device-face.ts";
import { handleHandshake } from "./incoming.ts";
import { addPeer, erase, publishGuard, removePeer, setStaticKey, shortName } from "./membership.ts";
import { createOwnIdentity } from "./noise.ts";
import { type Peer, usableSession } from "./peer.ts";
import { createPeerTable } from "./peer-table.ts";
import { handlePlaneEvent } from "./plane-events.ts";
import { createDropCounts } from "./reasons.ts";
import { handleTimeout, pollTimeout, withPeer } from "./scheduling.ts";
import { flushStaged, stagePacket } from "./sessions.ts";

export function createWgDevice(options: WgDeviceOptions): WgDevice {
  const core = createCore(options);
  if (core.own !== undefined) publishGuard(core);
  return {
    addPeer: (now, peerOptions) => addPeer(core, now, peerOptions),
    removePeer(now, ref) {
      const peer = core.peers.find(ref);
      if (peer !== undefined) removePeer(core, now, peer);
    },
    erase: () => erase(core),
    setStaticKey: (now, key) => setStaticKey(core, now, key),
    setPresharedKey: (now, ref, key) => withPeer(core, now, ref, (peer) => replacePresharedKey(peer, key)),
    setKeepalive: (now, ref, ms) => withPeer(core, now, ref, (peer) => setKeepalive(core, peer, now, ms)),
    setReachable: (now, ref, is) => withPeer(core, now, ref, (peer) => setReachable(core, peer, now, is)),
    setPathSuspect(now, ref, isSuspect) {
      withPeer(core, now, ref, (peer) => {
        peer.isSuspect = isSuspect;
      });
    },
    setRoundTrip(ref, rttMs) {
      const peer = core.peers.find(ref);
      if (peer !== undefined) peer.pathRttMs = rttMs;
    },
    initiate(now, ref) {
      let isStarted = false;
      withPeer(core, now, ref, (peer) => {
        isStarted = startNow(core, peer, now, "asked for");
      });
      return isStarted;
    },
    send: (now, ref, packet) => withPeer(core, now, ref, (peer) => stage(core, peer, now, packet)),
    handlePunt(now, ref, packet) {
      withPeer(core, now, ref, (peer) => {
        notePunt(peer);
        stage(core, peer, now, packet);
      });
    },
    notePunt(ref) {
      const peer = core.peers.find(ref);
      if (peer !== undefined) notePunt(peer);
    },
    handleHandshake: (now, input) => handleHandshake(core, now, input),
    handlePlaneEvent: (now, event) => handlePlaneEvent(core, now, event),
    handleTimeout: (now) => handleTimeout(core, now),
    pollTimeout: () => pollTimeout(core),
    timeoutReason() {
      const peer = core.queue.first();
      return peer && `${shortName(peer.publicKey)}: ${peer.dueReason}`;
    },
    handleCarriedOut: (now, command) => handleCarriedOut(core, now, command),
    handleWallClock: (now, unix) => followWallClock(core, now, unix),
    pollTransmit: () => core.transmits.shift(),
    pollCommand: () => core.commands.shift(),
    pollEvent: () => core.events.shift(),
    publicKey: () => core.own?.publicKey,
    peerByKey: (publicKey) => core.peers.byKey(publicKey)?.ref,
    peerById: (peerId) => core.peers.byId(peerId)?.ref,
    peerBySlot: (slot) => core.peers.bySlot(slot)?.ref,
    stats: (ref) => statsOf(core, core.peers.find(ref), ref),
    drops: () => core.drops,
  };
}

function createCore(options: WgDeviceOptions): DeviceCore {
  const { crypto, random, records, now, peersMax = DEFAULT_PEERS_MAX } = options;
  return {
    crypto,
    random,
    records,
    log: (options.log ?? SILENT).scope("wireguard"),
    unixEpoch: unixMs(options.unixMs - now),
    guard: createLoadGuard({ crypto, random, limit: options.handshakeLimit ?? HANDSHAKE_LIMIT }),
    peers: createPeerTable(random, peersMax),
    queue: createDeadlineQueue(),
    commands: createQueue(),
    transmits: createQueue(),
    events: createQueue(),
    drops: createDropCounts(),
    sessionsMax: peersMax * SESSIONS_PER_PEER_AVERAGE,
    sessionCount: 0,
    own: options.staticKey && createOwnIdentity(crypto, copyOf(options.staticKey)),
    nextGeneration: 1,
    lastNow: now,
    lastMalformedLog: undefined,
  };
}

/**
 * WG-8: never back. Peers refuse stamps that are not greater than the last they have seen, so a clock that
 * was ahead, and whose stamps they have seen, is kept on until the true one has caught up.
 */
function followWallClock(core: DeviceCore, now: Instant, unix: UnixMs): void {
  core.unixEpoch = unixMs(Math.max(core.unixEpoch, unix - now));
}

function replacePresharedKey(peer: Peer, key: Uint8Array | undefined): void {
  peer.presharedKey?.fill(0);
  peer.presharedKey = key && copyOf(key);
}

function setKeepalive(core: DeviceCore, peer: Peer, now: Instant, keepaliveMs: number): void {
  const wasOff = peer.keepaliveMs === 0;
  peer.keepaliveMs = keepaliveMs;
  if (wasOff && keepaliveMs > 0) sendKeepaliveNow(core, peer, now);
}

function setReachable(core: DeviceCore, peer: Peer, now: Instant, isReachable: boolean): void {
  peer.isReachable = isReachable;
  flushStaged(core, peer, now);
}

function notePunt(peer: Peer): void {
  peer.puntsHandled = (peer.puntsHandled + 1) >>> 0;
}

/** WG-18: the packet waits for a session, and asks for one where the policy may. */
function stage(core: DeviceCore, peer: Peer, now: Instant, packet: Uint8Array): void {
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
}

function statsOf(core: DeviceCore, peer: Peer | undefined, ref: PeerRef): WgPeerStats {
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
    sessions: peer?.sessions.filter((session) => session !== undefined).length ?? 0,
    hasUsableSession: peer !== undefined && usableSession(peer, core.lastNow) !== undefined,
    drops: peer?.drops ?? {},
  };
}
