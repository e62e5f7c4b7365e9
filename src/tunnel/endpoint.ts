/**
 * What client and gateway have in common: one end of the tunnel around the machine of connections, with
 * its queues, and the inputs that go straight to the connections.
 */

import {
  createQueue,
  equalValues,
  type Instant,
  type IpAddress,
  type Log,
  type Prefix,
  type Queue,
  type SocketAddress,
  type UnixMs,
} from "../base/index.ts";
import type {
  ConnectionCommand,
  ConnectionEvent,
  Connections,
  ConnectionTransmit,
  Datagram,
  DatagramOutcome,
  StreamNews,
  WriteTun,
} from "../connections/index.ts";
import {
  type ControlEvent,
  encodeGoodbye,
  encodeTooBig,
  isControlEvent,
  parseControlEvent,
} from "../packet/index.ts";
import type { PlaneEvent } from "../plane/index.ts";
import type { TunnelAddresses } from "../portal/protocol/index.ts";
import type { DropLines } from "./drops.ts";
import { addressKey } from "./nat/keys.ts";
import {
  createRelayWish,
  isTimeToAsk,
  noteRelayAnswered,
  type RelaysWanted,
  type RelayWish,
  wantRelays,
} from "./relays.ts";
import { batchCandidates, type CandidateBatch, type CandidateEvent, logBatch } from "./signalling.ts";

/** What the shell carries out, in order. */
export type TunnelCommand = ConnectionCommand;

/** What the TUN device shall look like (TN-16, TN-19). */
export interface TunnelInterface {
  readonly addresses: readonly IpAddress[];
  readonly routes: readonly Prefix[];
}

/** Tunnel addresses of other ends that there is a connection to: theirs even in a network of the host. */
export interface PeerChange {
  readonly removed: readonly IpAddress[];
  readonly added: readonly IpAddress[];
}

export type InterfaceEvent =
  | { readonly kind: "interface"; readonly interface: TunnelInterface }
  | { readonly kind: "peers"; readonly change: PeerChange };

/** The inputs and outputs that both ends have. */
export interface TunnelEnd<Event> {
  /** The time of day, before every input (WG-8, TN-53). */
  handleWallClock(now: Instant, unix: UnixMs): void;
  handlePlaneEvent(now: Instant, event: PlaneEvent): void;
  handleDatagram(now: Instant, datagram: Datagram): DatagramOutcome;
  handleCarriedOut(now: Instant, command: Exclude<ConnectionCommand, WriteTun>): void;
  /** How a stream to a relay fares that the connections asked for (RL-208). */
  handleStream(now: Instant, news: StreamNews): void;
  /** The whole list of own addresses (SN-137). */
  handleOwnAddresses(now: Instant, addresses: readonly SocketAddress[]): void;
  /** This process stood still, and its network is the same: all paths are checked (PG-74). */
  checkPaths(now: Instant): void;
  /** Says goodbye on every connection (TN-37). */
  shutdown(now: Instant): void;
  pollCommand(): TunnelCommand | undefined;
  pollTransmit(): ConnectionTransmit | undefined;
  pollEvent(): Event | undefined;
}

/** The state that both ends have. */
export interface EndState<Event> {
  readonly connections: Connections;
  readonly log: Log;
  readonly dropLines: DropLines;
  readonly commands: Queue<WriteTun>;
  readonly events: Queue<Event>;
  /** Candidates that wait for the end of the input. */
  readonly candidates: CandidateEvent[];
  /**
   * Whether the portal has greeted us as what we are now. After a reset it may still answer what was asked
   * with our old key, until it says `init` again (TN-107).
   */
  isGreeted: boolean;
  /** It has said goodbye: nothing is asked for any more, and the portal not obeyed (TN-37). */
  isOver: boolean;
  /** Whether the portal is asked for relays (TN-104). */
  readonly wish: RelayWish;
  own: TunnelAddresses | undefined;
  announced: TunnelInterface | undefined;
  /** Peers' tunnel addresses, as they were told. */
  readonly peers: Map<string, IpAddress>;
}

/** What becomes of a connection. */
export type LifeEvent = Exclude<
  ConnectionEvent,
  CandidateEvent | { readonly kind: "relays-exhausted" | "relay-answered" }
>;

export interface EndParts<Event> {
  readonly idField: "gid" | "cid";
  /** What a connection says, except its candidates. */
  readonly handleConnectionEvent: (now: Instant, event: LifeEvent) => void;
  readonly toRequest: (batch: CandidateBatch) => Event;
}

export function createEndState<Event>(connections: Connections, log: Log): EndState<Event> {
  return {
    connections,
    log,
    dropLines: new Map(),
    commands: createQueue(),
    events: createQueue(),
    candidates: [],
    isGreeted: false,
    isOver: false,
    wish: createRelayWish(),
    own: undefined,
    announced: undefined,
    peers: new Map(),
  };
}

/** After every input: takes what the connections say. */
export function drainConnections<Event>(
  end: EndState<Event | RelaysWanted>,
  now: Instant,
  parts: EndParts<Event>,
): void {
  const { connections, candidates } = end;
  for (let event = connections.pollEvent(); event !== undefined; event = connections.pollEvent()) {
    if (event.kind === "candidate-added" || event.kind === "candidate-removed") candidates.push(event);
    else if (event.kind === "relays-exhausted") wantRelays(end, now);
    else if (event.kind === "relay-answered") noteRelayAnswered(end);
    else parts.handleConnectionEvent(now, event);
  }
  if (isTimeToAsk(end, now)) end.events.push({ kind: "relays-wanted" });
  for (const batch of batchCandidates(candidates.splice(0))) {
    logBatch(end.log, parts.idField, batch);
    end.events.push(parts.toRequest(batch));
  }
}

/** @param after brings everything up to date after an input */
export function createTunnelEnd<Event>(
  end: EndState<Event>,
  after: (now: Instant) => void,
): TunnelEnd<Event> {
  const { connections, commands, events } = end;
  return {
    handleWallClock: (now, unix) => connections.handleWallClock(now, unix),
    handlePlaneEvent(now, event) {
      connections.handlePlaneEvent(now, event);
      after(now);
    },
    handleDatagram(now, datagram) {
      const outcome = connections.handleDatagram(now, datagram);
      after(now);
      return outcome;
    },
    handleStream(now, news) {
      connections.handleStream(now, news);
      after(now);
    },
    handleCarriedOut(now, command) {
      connections.handleCarriedOut(now, command);
      after(now);
    },
    handleOwnAddresses(now, addresses) {
      connections.updateHostAddresses(now, addresses);
      after(now);
    },
    checkPaths(now) {
      connections.checkAllPaths(now);
      after(now);
    },
    shutdown(now) {
      end.isOver = true;
      connections.closeAll(now, encodeGoodbye());
      after(now);
    },
    pollCommand: () => connections.pollCommand() ?? commands.shift(),
    pollTransmit: () => connections.pollTransmit(),
    pollEvent: () => events.shift(),
  };
}

/** The network is another one: connections go, and the portal must greet us anew. */
export function resetEnd(end: EndState<unknown>, now: Instant): void {
  end.isGreeted = false;
  // The portal greets us anyway, with its relays.
  end.wish.askAt = undefined;
  end.connections.reset(now);
}

/** Whether a message of the portal is for what we are now (TN-107). */
export function isForUs(end: EndState<unknown>, { kind }: { readonly kind: string }): boolean {
  if (end.isOver) return false;
  if (kind === "init") end.isGreeted = true;
  if (!end.isGreeted) end.log.debug?.("message for an earlier identity ignored", { kind });
  return end.isGreeted;
}

export function ownAddresses({ own }: EndState<unknown>): readonly IpAddress[] {
  return own === undefined ? [] : [own.ipv4, own.ipv6];
}

/** One event per change; the last state counts (TN-19). */
export function announceInterface<Event>(
  end: EndState<Event | InterfaceEvent>,
  routes: readonly Prefix[],
): void {
  const next = { addresses: ownAddresses(end), routes };
  if (equalValues(next, end.announced)) return;
  end.announced = next;
  end.events.push({ kind: "interface", interface: next });
}

/** What changes of the peers' addresses, by itself: a gateway has many of them. */
export function announcePeers<Event>(
  { peers, events }: EndState<Event | InterfaceEvent>,
  { removed, added }: PeerChange,
): void {
  const stay = new Set(added.map(addressKey));
  const gone = removed.filter(
    (address) => !stay.has(addressKey(address)) && peers.delete(addressKey(address)),
  );
  const come = added.filter((address) => !peers.has(addressKey(address)));
  for (const address of come) peers.set(addressKey(address), address);
  if (gone.length + come.length > 0) events.push({ kind: "peers", change: { removed: gone, added: come } });
}

/** Tells the sender of a packet that its peer's path does not take it, unless it does by now (TN-108). */
export function answerTooBig(
  { connections, commands }: EndState<unknown>,
  { slot, packet }: { readonly slot: number; readonly packet: Uint8Array },
): void {
  const mtu = connections.mtuOf(slot);
  if (mtu === undefined || packet.length <= mtu) return;
  const error = encodeTooBig(packet, mtu);
  if (error !== undefined) commands.push({ kind: "write-tun", packet: error });
}

/** A punted control event; `undefined`: it is none that can be read (TN-44). */
export function readControlEvent(packet: Uint8Array): ControlEvent | undefined {
  const event = isControlEvent(packet) ? parseControlEvent(packet) : undefined;
  return event?.ok ? event.value : undefined;
}
