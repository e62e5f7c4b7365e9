/**
 * Control's hand in the tables of peers, sessions and paths (D-11): a row is filled completely and then
 * published by one atomic store; what was unlinked is reused after a quiescent point (WG-44).
 */
import { assert, type SocketAddress } from "../../src/base/index.ts";
import type { PathRecord, SessionKeys } from "../../src/plane/index.ts";
import { encodeSockaddr } from "../linux/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { KnownSources } from "./known-sources.ts";
import type { PeerIndex } from "./peer-index.ts";
import type { Quiescence } from "./quiescence.ts";

const { peer: PEER, session: SESSION, path: PATH } = OFFSETS;
const PATH_KINDS = {
  none: CONSTANTS.PATH_NONE,
  direct: CONSTANTS.PATH_DIRECT,
  relayed: CONSTANTS.PATH_RELAYED,
} as const;

export interface PeerTable {
  addPeer(slot: number, peerId: number): void;
  removePeer(slot: number): void;
  install(slot: number, session: SessionKeys): void;
  retire(slot: number, local: number): void;
  setCurrent(slot: number, local: number): void;
  setPath(slot: number, path: PathRecord): void;
  /** A source that is nobody's path yet (PG-160). */
  knowSource(source: SocketAddress): void;
  /** Address of the session row with this index, if the peer has it. */
  findSession(slot: number, local: number): number | undefined;
  /** Address of the peer's row; the slot must be in use. */
  row(slot: number): number;
  /** Address of the slot's row, in use or not. */
  anyRow(slot: number): number;
  /** Whether a peer has the slot. */
  has(slot: number): boolean;
  /** Id of the slot's peer; 0: none. */
  peerId(slot: number): number;
}

export interface PeerTableOptions {
  readonly shared: SharedMemory;
  readonly index: PeerIndex;
  readonly known: KnownSources;
  readonly quiescence: Quiescence;
  readonly peers: { readonly address: number; readonly capacity: number };
  readonly sessions: { readonly address: number; readonly capacity: number };
  readonly limits: { readonly rekeyAfterMessages: bigint; readonly rejectAfterMessages: bigint };
}

/** What the functions below work on. */
interface TableState extends PeerTableOptions {
  readonly rows: ReturnType<typeof createSessionRows>;
  readonly paths: ReturnType<typeof createPathRows>;
  /** Slots whose last use has not become quiescent yet. */
  readonly leaving: Set<number>;
}

export function createPeerTable(options: PeerTableOptions): PeerTable {
  const table: TableState = {
    ...options,
    rows: createSessionRows(options),
    paths: createPathRows(options.shared),
    leaving: new Set(),
  };
  return {
    row: (slot) => usedRow(table, slot),
    anyRow: (slot) => anyRow(table, slot),
    peerId: (slot) => peerIdOf(table, slot),
    has: (slot) => peerIdOf(table, slot) !== 0,
    knowSource: (source) => options.known.note(source),
    findSession: (slot, local) => findSession(table, slot, local),
    addPeer: (slot, peerId) => addPeer(table, slot, peerId),
    removePeer: (slot) => removePeer(table, slot),
    install: (slot, session) => install(table, slot, session),
    retire(slot, local) {
      const session = findSession(table, slot, local);
      if (session !== undefined) unlink(table, usedRow(table, slot), table.rows.number(session));
    },
    setCurrent(slot, local) {
      const session = findSession(table, slot, local);
      assert(session !== undefined, "a session is installed before it becomes current (WG-52)");
      const place = (usedRow(table, slot) + PEER.current) >> 2;
      Atomics.store(table.shared.words, place, table.rows.number(session));
    },
    setPath: (slot, path) => setPath(table, slot, path),
  };
}

function anyRow({ peers }: TableState, slot: number): number {
  assert(slot >= 0 && slot < peers.capacity, `slot ${slot} is below ${peers.capacity}`);
  return peers.address + slot * BYTES.peer;
}

function usedRow(table: TableState, slot: number): number {
  assert(peerIdOf(table, slot) !== 0, `slot ${slot} has a peer`);
  return anyRow(table, slot);
}

function peerIdOf(table: TableState, slot: number): number {
  return table.shared.words[(anyRow(table, slot) + PEER.peerId) >> 2] ?? 0;
}

function addPeer(table: TableState, slot: number, peerId: number): void {
  const { shared, index, quiescence, leaving } = table;
  const row = anyRow(table, slot);
  assert(peerIdOf(table, slot) === 0, `slot ${slot} is free`);
  assert(peerId > 0 && peerId < 2 ** 24, "a peer id has 24 bits and is not 0 (WG-12)");
  if (leaving.has(slot)) quiescence.drain();
  clearRow(shared, row);
  Atomics.store(shared.words, (row + PEER.peerId) >> 2, peerId);
  index.insert(peerId, slot);
}

/** Everything but the two numbers of punts: some of the slot's last peer may still be in the ring. */
function clearRow({ words }: SharedMemory, row: number): void {
  const [punted, taken] = [(row + PEER.punted) >> 2, (row + PEER.taken) >> 2];
  for (let i = row >> 2; i < (row + BYTES.peer) >> 2; i++) if (i !== punted && i !== taken) words[i] = 0;
}

function removePeer(table: TableState, slot: number): void {
  const { shared, index, quiescence, leaving } = table;
  const row = usedRow(table, slot);
  const { words } = shared;
  index.remove(words[(row + PEER.peerId) >> 2] ?? 0);
  Atomics.store(words, (row + PEER.peerId) >> 2, 0);
  for (let i = 0; i < CONSTANTS.SESSIONS_PER_PEER; i++) {
    const number = words[((row + PEER.ring) >> 2) + i] ?? 0;
    if (number !== 0) unlink(table, row, number);
  }
  replacePath(table, row, 0);
  leaving.add(slot);
  quiescence.after(() => leaving.delete(slot));
}

function install(table: TableState, slot: number, session: SessionKeys): void {
  const row = usedRow(table, slot);
  const place = ringPlace(row, session.local);
  const old = table.shared.words[place] ?? 0;
  const number = table.rows.take(slot, session);
  Atomics.store(table.shared.words, place, number);
  if (old !== 0) unlink(table, row, old);
}

/** Takes a session out of every place where a worker could find it, and frees its row later. */
function unlink({ shared: { words }, rows, quiescence }: TableState, peer: number, number: number): void {
  const local = words[(rows.row(number) + SESSION.local) >> 2] ?? 0;
  const place = ringPlace(peer, local);
  if (words[place] === number) Atomics.store(words, place, 0);
  Atomics.compareExchange(words, (peer + PEER.current) >> 2, number, 0);
  quiescence.after(() => rows.release(number));
}

function findSession(table: TableState, slot: number, local: number): number | undefined {
  const { words } = table.shared;
  const number = words[ringPlace(usedRow(table, slot), local)] ?? 0;
  if (number === 0) return undefined;
  const session = table.rows.row(number);
  return words[(session + SESSION.local) >> 2] === local ? session : undefined;
}

function setPath(table: TableState, slot: number, path: PathRecord): void {
  const row = usedRow(table, slot);
  // ICE has checked it, or the operator has written it down (PG-160).
  if (path.kind === "direct" && path.destination !== undefined) table.known.note(path.destination);
  replacePath(table, row, table.paths.write(path));
  Atomics.store(table.shared.words, (row + PEER.idle) >> 2, path.isIdle ? 1 : 0);
  Atomics.store(table.shared.words, (row + PEER.tooLong) >> 2, 1);
}

function replacePath({ shared, quiescence }: TableState, peer: number, path: number): void {
  const old = Atomics.exchange(shared.words, (peer + PEER.path) >> 2, path);
  if (old !== 0) quiescence.after(() => shared.free(old));
}

function ringPlace(peer: number, local: number): number {
  return ((peer + PEER.ring) >> 2) + (local & (CONSTANTS.SESSIONS_PER_PEER - 1));
}

/** Rows of sessions; their number is the row + 1, as it stands in rings and in `current`. */
function createSessionRows({ shared, quiescence, sessions, limits }: PeerTableOptions) {
  const { address, capacity } = sessions;
  /** Given back; those above `used` have never been taken. */
  const free: number[] = [];
  let used = 0;

  function row(number: number): number {
    return address + (number - 1) * BYTES.session;
  }

  return {
    row,
    number: (session: number) => (session - address) / BYTES.session + 1,
    take(slot: number, keys: SessionKeys): number {
      if (free.length === 0 && used === capacity) quiescence.drain();
      const number = free.pop() ?? ++used;
      assert(number <= capacity, `there are at most ${capacity} sessions`);
      const at = row(number);
      const { words, longs, bytes } = shared;
      bytes.fill(0, at, at + BYTES.session);
      words[(at + SESSION.local) >> 2] = keys.local;
      words[(at + SESSION.remote) >> 2] = keys.remote;
      words[(at + SESSION.generation) >> 2] = keys.generation;
      words[(at + SESSION.slot) >> 2] = slot;
      words[(at + SESSION.isInitiator) >> 2] = keys.isInitiator ? 1 : 0;
      longs[(at + SESSION.sendUntil) >> 3] = BigInt(Math.ceil(keys.sendUntil));
      longs[(at + SESSION.recvUntil) >> 3] = BigInt(Math.ceil(keys.recvUntil));
      longs[(at + SESSION.rekeyLimit) >> 3] = limits.rekeyAfterMessages;
      longs[(at + SESSION.rejectLimit) >> 3] = limits.rejectAfterMessages;
      bytes.set(keys.sendKey, at + SESSION.sendKey);
      bytes.set(keys.receiveKey, at + SESSION.receiveKey);
      return number;
    },
    /** No worker sees the row any more: its keys are gone from here on. */
    release(number: number): void {
      const at = row(number);
      shared.bytes.fill(0, at, at + BYTES.session);
      free.push(number);
    },
  };
}

/** Path rows; each publication has a serial of its own, by which a send under construction knows it. */
function createPathRows(shared: SharedMemory) {
  let serial = 0;
  return {
    write(path: PathRecord): number {
      const at = shared.allocate(BYTES.path);
      const { words, bytes } = shared;
      serial = (serial % 0xffff_ffff) + 1;
      words[(at + PATH.serial) >> 2] = serial;
      words[(at + PATH.kind) >> 2] = PATH_KINDS[path.kind];
      words[(at + PATH.isBroken) >> 2] = path.isBroken ? 1 : 0;
      words[(at + PATH.headRoom) >> 2] = path.headRoom;
      words[(at + PATH.channel) >> 2] = path.channel ?? 0;
      words[(at + PATH.mtu) >> 2] = path.mtu ?? 0;
      words[(at + PATH.isCutInside) >> 2] = path.isCutInside === true ? 1 : 0;
      if (path.destination !== undefined) {
        const place = at + PATH.destination;
        const into = bytes.subarray(place, place + 32);
        words[(at + PATH.destinationBytes) >> 2] = encodeSockaddr(path.destination, into);
      }
      if (path.source !== undefined) {
        words[(at + PATH.sourceBytes) >> 2] = path.source.length;
        bytes.set(path.source, at + PATH.source);
      }
      return at;
    },
  };
}
