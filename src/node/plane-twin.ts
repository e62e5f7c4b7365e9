/**
 * The packet plane in plain TypeScript (SN-130): it obeys the same commands and raises the same
 * events and punts as `bindings/plane.ts`, one packet at a time and without threads. The stand-alone
 * node, the simulated world and the tests of `src/wireguard` use it. Speed is not its aim. Relayed
 * paths come with relays.
 *
 *     sendPacket     → route → hold word, session → seal ─▶ pollTransmit
 *     handleDatagram → index → replay, open → permits    ─▶ pollPacket
 */
import {
  assert,
  contains,
  copyOf,
  type DataPunt,
  equalIp,
  equalSocketAddress,
  type Instant,
  type IpAddress,
  type PeerPermits,
  type PlaneCommand,
  type PlaneEvent,
  type PlaneRecords,
  type PolicyTables,
  type RouteTarget,
  type SocketAddress,
} from "../base/index.ts";
import { isControlEvent } from "../packet/index.ts";
import {
  addressesOf,
  createTwinPeer,
  noActivity,
  noteReceived,
  noteSent,
  openMessage,
  padded,
  sealMessage,
  TAG_BYTES,
  TRANSPORT_HEADER_BYTES,
  type TwinPeer,
  type TwinSession,
} from "./plane-twin-peer.ts";
import { createReplayWindow } from "./replay-window.ts";

const HELD_MAX = 128;
const STUN_COOKIE = 0x2112a442;

export interface PlaneTwinOptions {
  /** `plain`: padding, roaming, sources checked against the routes (WG-58). */
  readonly mode: "plain" | "client" | "gateway";
  /** Lowered by tests only (WG-45). */
  readonly limits?: { readonly rekeyAfterMessages: bigint; readonly rejectAfterMessages: bigint };
}

export interface TwinDatagram {
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
  readonly local: SocketAddress;
}

export interface TwinTransmit {
  readonly slot: number;
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface PlaneTwin {
  readonly records: PlaneRecords;
  execute(now: Instant, command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  /** A datagram from the network. */
  handleDatagram(now: Instant, datagram: TwinDatagram): void;
  /** An IP packet from the TUN device. */
  sendPacket(now: Instant, packet: Uint8Array): void;
  pollTransmit(): TwinTransmit | undefined;
  /** An IP packet for the TUN device. */
  pollPacket(): { readonly slot: number; readonly packet: Uint8Array } | undefined;
  pollEvent(): PlaneEvent | undefined;
  pollPunt(): DataPunt | undefined;
  /** Drops by reason. */
  drops(): Readonly<Record<string, number>>;
}

const DEFAULT_LIMITS = { rekeyAfterMessages: 1n << 60n, rejectAfterMessages: (1n << 64n) - (1n << 13n) - 1n };

export function createPlaneTwin(options: PlaneTwinOptions): PlaneTwin {
  const { rekeyAfterMessages, rejectAfterMessages } = options.limits ?? DEFAULT_LIMITS;
  const isPlain = options.mode === "plain";
  const peers = new Map<number, TwinPeer>();
  const slotsById = new Map<number, number>();
  const transmits: TwinTransmit[] = [];
  const packets: { readonly slot: number; readonly packet: Uint8Array }[] = [];
  const events: PlaneEvent[] = [];
  const punts: DataPunt[] = [];
  const dropped: Record<string, number> = {};
  let policy: PolicyTables = { routes: [], permits: [] };

  function drop(reason: string): void {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  }

  function peerOf(slot: number): TwinPeer {
    const peer = peers.get(slot);
    assert(peer !== undefined, `command for the free slot ${slot}`);
    return peer;
  }

  function routeOf(address: IpAddress): RouteTarget | undefined {
    let best: { readonly bits: number; readonly target: RouteTarget } | undefined;
    for (const { prefix, target } of policy.routes) {
      if (contains(prefix, address) && (best === undefined || prefix.bits >= best.bits)) {
        best = { bits: prefix.bits, target };
      }
    }
    return best?.target;
  }

  /** TN-20, TN-38: true where the policy names no own addresses. */
  function isOwn(address: IpAddress): boolean {
    return policy.ownAddresses === undefined || policy.ownAddresses.some((own) => equalIp(own, address));
  }

  function permitsOf(slot: number): PeerPermits | undefined {
    return policy.permits.find((permits) => permits.slot === slot);
  }

  /** WG-45: `undefined` at the limit. */
  function takeCounter(peer: TwinPeer, session: TwinSession): bigint | undefined {
    const { slot } = peer;
    const { generation } = session;
    if (session.sendCounter >= rejectAfterMessages) {
      events.push({ kind: "counter", slot, generation, limit: "reject" });
      return undefined;
    }
    if (session.sendCounter >= rekeyAfterMessages && !session.isLimitReported) {
      session.isLimitReported = true;
      events.push({ kind: "counter", slot, generation, limit: "rekey" });
    }
    return session.sendCounter++;
  }

  /** WG-46, without the hold word. */
  function sendTo(peer: TwinPeer, now: Instant, packet: Uint8Array): void {
    const session = peer.current;
    const destination = peer.path?.destination;
    const hasPath = destination !== undefined && peer.path?.isBroken === false;
    const isUsable = session !== undefined && now < session.sendUntil && hasPath;
    const counter = isUsable ? takeCounter(peer, session) : undefined;
    if (!isUsable || counter === undefined) {
      puntForSession(peer, packet);
      return;
    }
    const plaintext = isPlain ? padded(packet) : packet;
    const bytes = sealMessage(session, counter, plaintext);
    events.push(...noteSent(peer, now, bytes.length, true));
    const source = peer.path?.source;
    transmits.push({ slot: peer.slot, destination, bytes, ...(source && { source }) });
  }

  function puntForSession(peer: TwinPeer, packet: Uint8Array): void {
    peer.isHeld = true;
    if (peer.heldPackets >= HELD_MAX) {
      drop("wg_no_session");
      return;
    }
    peer.heldPackets++;
    punts.push({ reason: "no-session", slot: peer.slot, packet: copyOf(packet) });
  }

  function sendPacket(now: Instant, packet: Uint8Array): void {
    const addresses = addressesOf(packet);
    if (addresses === undefined) return drop("ip-length");
    if (!isOwn(addresses.source)) return drop("bad-source");
    const target = routeOf(addresses.destination);
    if (target === undefined) return drop(isPlain ? "wg_no_route" : "unknown-resource");
    if (target.kind === "drop") return drop(target.reason);
    if (target.kind !== "peer") {
      punts.push({ reason: target.kind === "punt" ? "first" : "refused", packet: copyOf(packet) });
      return;
    }
    const peer = peers.get(target.slot);
    if (peer === undefined) return drop("wg_no_route");
    const allowed = permitsOf(target.slot)?.egressSources;
    if (allowed !== undefined && !allowed.some((prefix) => contains(prefix, addresses.source))) {
      return drop("not-allowed");
    }
    if (peer.isHeld) puntForSession(peer, packet);
    else sendTo(peer, now, packet);
  }

  /** D-9. */
  function handleDatagram(now: Instant, { bytes, from, local }: TwinDatagram): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const type = bytes.length >= 4 ? view.getUint32(0, true) : 0;
    if (type === 4) {
      openData(now, view, bytes, { from, local: local.address });
      return;
    }
    const isStun = bytes.length >= 20 && (bytes[0] ?? 255) <= 3 && view.getUint32(4) === STUN_COOKIE;
    const kind = isStun ? "stun" : type >= 1 && type <= 3 ? "handshake" : "other";
    events.push({ kind, bytes: copyOf(bytes), from, local });
  }

  /** WG-47. */
  function openData(
    now: Instant,
    view: DataView,
    bytes: Uint8Array,
    tuple: { readonly from: SocketAddress; readonly local: IpAddress },
  ): void {
    if (bytes.length < TRANSPORT_HEADER_BYTES + TAG_BYTES) return drop("wg_malformed");
    const index = view.getUint32(4, true);
    const peer = peers.get(slotsById.get(index >>> 8) ?? -1);
    const session = peer?.sessions.get(index);
    if (peer === undefined || session === undefined) return drop("wg_unknown_index");
    if (now >= session.recvUntil) return drop("wg_expired_session");
    const counter = view.getBigUint64(8, true);
    if (counter >= rejectAfterMessages) return drop("wg_counter_limit");
    if (!session.window.isNew(counter)) return drop("wg_replay");
    const plaintext = openMessage(session, counter, bytes.subarray(TRANSPORT_HEADER_BYTES));
    if (plaintext === undefined) return drop("wg_bad_tag");
    session.window.mark(counter);
    session.received++;
    events.push(...noteReceived(peer, now, bytes.length, plaintext.length > 0));
    confirm(peer, session);
    if (isPlain) noteRoaming(peer, tuple);
    if (plaintext.length > 0) deliver(peer, plaintext);
  }

  function confirm(peer: TwinPeer, session: TwinSession): void {
    if (session.isInitiator) return;
    if (peer.current !== undefined && peer.current.generation >= session.generation) return;
    peer.current = session;
    events.push({ kind: "confirmed", slot: peer.slot, generation: session.generation });
  }

  /** WG-62: reported once, until control sets the path. */
  function noteRoaming(
    peer: TwinPeer,
    { from, local }: { readonly from: SocketAddress; readonly local: IpAddress },
  ): void {
    const known = peer.path?.destination;
    if (peer.hasRoamed || (known !== undefined && equalSocketAddress(known, from))) return;
    peer.hasRoamed = true;
    events.push({ kind: "roamed", slot: peer.slot, from, local });
  }

  function deliver(peer: TwinPeer, plaintext: Uint8Array): void {
    const addresses = addressesOf(plaintext);
    if (addresses === undefined) return drop("ip-length");
    const packet = plaintext.slice(0, addresses.lengthBytes);
    const { slot } = peer;
    if (isControlEvent(packet)) {
      punts.push({ reason: "control-event", slot, packet });
      return;
    }
    if (isPlain) {
      const target = routeOf(addresses.source);
      if (target?.kind !== "peer" || target.slot !== slot) return drop("wg_disallowed_source");
    } else {
      const permits = permitsOf(slot);
      if (!permits?.sources.some((prefix) => contains(prefix, addresses.source))) {
        return drop("not-allowed-source");
      }
      if (!isOwn(addresses.destination)) return drop("bad-destination");
      const { destinations, refuseDestination } = permits;
      if (destinations && !destinations.some((prefix) => contains(prefix, addresses.destination))) {
        if (refuseDestination) punts.push({ reason: "refused", slot, packet });
        else drop("bad-destination");
        return;
      }
    }
    packets.push({ slot, packet });
  }

  function execute(now: Instant, command: PlaneCommand): void {
    const { slot } = command;
    switch (command.kind) {
      case "add-peer":
        peers.set(slot, createTwinPeer(slot, command.peerId));
        slotsById.set(command.peerId, slot);
        return;
      case "install": {
        const { session } = command;
        peerOf(slot).sessions.set(session.local, {
          ...session,
          sendKey: copyOf(session.sendKey),
          receiveKey: copyOf(session.receiveKey),
          sendCounter: 0n,
          received: 0,
          window: createReplayWindow(),
          isLimitReported: false,
        });
        return;
      }
      case "retire": {
        const peer = peerOf(slot);
        if (peer.current?.local === command.local) peer.current = undefined;
        peer.sessions.delete(command.local);
        return;
      }
      case "set-current":
        peerOf(slot).current = peerOf(slot).sessions.get(command.local);
        return;
      case "arm-watch":
        peerOf(slot).isWatched = true;
        return;
      case "hold":
        peerOf(slot).isHeld = true;
        return;
      case "release":
        peerOf(slot).isHeld = false;
        peerOf(slot).heldPackets = 0;
        return;
      case "set-path": {
        const peer = peerOf(slot);
        peer.path = command.path;
        peer.isIdle = command.path.isIdle;
        peer.hasRoamed = false;
        return;
      }
      case "inject":
        for (const packet of command.packets) sendTo(peerOf(slot), now, packet);
        return;
      case "remove-peer":
        slotsById.delete(peerOf(slot).peerId);
        peers.delete(slot);
        return;
    }
  }

  const records: PlaneRecords = {
    activity: (slot) => ({ ...(peers.get(slot)?.activity ?? noActivity()) }),
    takeCounter(slot, local) {
      const peer = peers.get(slot);
      const session = peer?.sessions.get(local);
      return peer && session && takeCounter(peer, session);
    },
    noteSent(slot, now, bytes) {
      const peer = peers.get(slot);
      if (peer !== undefined) noteSent(peer, now, bytes, false);
    },
    noteReceived(slot, now, bytes) {
      const peer = peers.get(slot);
      if (peer !== undefined) noteReceived(peer, now, bytes, false);
    },
    received(slot, local) {
      const session = peers.get(slot)?.sessions.get(local);
      return session && { packets: session.received, highest: Number(session.window.last()) };
    },
  };

  return {
    records,
    execute,
    publish(tables) {
      policy = tables;
    },
    handleDatagram,
    sendPacket,
    pollTransmit: () => transmits.shift(),
    pollPacket: () => packets.shift(),
    pollEvent: () => events.shift(),
    pollPunt: () => punts.shift(),
    drops: () => dropped,
  };
}
