/**
 * What control remembers of the flows that it has linked in the plane: by which tuple each is found again, what it
 * was decided for, and whether that still holds (TN-82 to TN-86, TN-90).
 */
import { after, copyOf, type Instant, type IpAddress } from "../base/index.ts";
import { type PacketView, PROTOCOL } from "../packet/index.ts";
import type {
  EndedFlow,
  FlowDirection,
  FlowFarewell,
  FlowRecord,
  FlowUsage,
  PlaneFlows,
} from "../plane/index.ts";
import { SWEEP_MS } from "./constants.ts";
import { addressKey } from "./nat/keys.ts";

export interface DecidedFlow<Note> {
  /** Whose decisions end together: a client's id at a gateway, a name or all addresses at a client. */
  readonly owner: string;
  readonly record: FlowRecord;
  readonly note: Note;
}

export interface BookedFlow<Note> extends DecidedFlow<Note> {
  readonly id: number;
}

export interface FlowBook<Note> {
  /** The flow that a packet belongs to, if what was decided still holds. */
  find(direction: FlowDirection, tuple: FlowTuple): BookedFlow<Note> | undefined;
  /** `undefined`: the plane has no room for it. */
  link(now: Instant, flow: DecidedFlow<Note>): BookedFlow<Note> | undefined;
  /** Takes a flow out at once; `undefined` if the plane has done so already. */
  unlink(flow: BookedFlow<Note>): FlowUsage | undefined;
  /** Those of the owner that hold; a copy. */
  ofOwner(owner: string): readonly BookedFlow<Note>[];
  /** What the plane has counted; `undefined` if it has taken the record out. */
  usage(flow: BookedFlow<unknown>): FlowUsage | undefined;
  /** FIN or RST that the plane has not seen by this record. */
  note(flow: BookedFlow<unknown>, direction: FlowDirection, farewell: FlowFarewell): void;
  /** Whether FIN or RST has been seen. */
  isClosing(flow: BookedFlow<Note>): boolean;
  /** Nothing that was decided for the owner holds any more; its records have that slot. */
  revoke(owner: string, slot: number | undefined): void;
  /** The owner's flows are taken out, one by one; what others have goes on. */
  drop(owner: string): void;
  /** Nothing at all holds any more. */
  revokeAll(): void;
  /** Looks at what has aged, at most once per `SWEEP`. */
  sweep(now: Instant): readonly (EndedFlow & BookedFlow<Note>)[];
  /** An idle machine is not woken: none without flows. */
  pollTimeout(): Instant | undefined;
  size(): number;
  /** The newest flows, at most so many of them. */
  newest(limit: number): readonly BookedFlow<Note>[];
}

/** A packet's addresses and identities, as it goes through the plane. */
export interface FlowTuple {
  readonly protocol: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly ports?: PacketView["ports"];
}

/** Both ends of a packet's flow, as the client sees them: a record has 0 where there is no port of its own (TN-75). */
export function endsOf(
  view: PacketView,
  direction: FlowDirection,
): Pick<FlowRecord, "protocol" | "client" | "remote"> {
  const { protocol, ports } = view;
  const isOut = direction === "out";
  const isEcho = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const near = isOut ? ports?.source : ports?.destination;
  const far = isOut ? ports?.destination : ports?.source;
  return {
    protocol,
    client: { address: copyOf(isOut ? view.source : view.destination), port: near ?? 0 },
    remote: { address: copyOf(isOut ? view.destination : view.source), port: isEcho ? 0 : (far ?? 0) },
  };
}

interface Row<Note> extends BookedFlow<Note> {
  readonly keys: readonly string[];
}

interface Book<Note> {
  readonly flows: PlaneFlows;
  /** All that the plane has not given back yet. */
  readonly byId: Map<number, Row<Note>>;
  /** Displaced by others that have their ids by now, and not told of yet: the plane tells in the same order. */
  readonly displaced: Map<number, Row<Note>[]>;
  /** Those that hold. */
  readonly byKey: Map<string, Row<Note>>;
  readonly byOwner: Map<string, Set<Row<Note>>>;
  sweepAt: Instant | undefined;
}

export function createFlowBook<Note>(flows: PlaneFlows): FlowBook<Note> {
  const book: Book<Note> = {
    flows,
    byId: new Map(),
    displaced: new Map(),
    byKey: new Map(),
    byOwner: new Map(),
    sweepAt: undefined,
  };
  return {
    find: (direction, tuple) => book.byKey.get(keyOf(direction, tuple)),
    link: (now, flow) => link(book, now, flow),
    unlink(flow) {
      const row = rowOf(book, flow);
      if (row === undefined) return undefined;
      forget(book, row);
      const usage = flows.unlink(flow.id);
      // Displaced: the next sweep tells.
      if (usage !== undefined) book.byId.delete(flow.id);
      return usage;
    },
    ofOwner: (owner) => [...(book.byOwner.get(owner) ?? [])],
    usage: (flow) => usageOf(book, flow),
    note(flow, direction, farewell) {
      if (rowOf(book, flow) !== undefined) flows.note(flow.id, direction, farewell);
    },
    isClosing(flow) {
      const usage = usageOf(book, flow);
      return usage !== undefined && [usage.out, usage.in].some(({ hasFin, hasRst }) => hasFin || hasRst);
    },
    revoke(owner, slot) {
      if (slot !== undefined) flows.revoke(slot);
      for (const row of book.byOwner.get(owner) ?? []) forget(book, row);
    },
    drop(owner) {
      for (const row of book.byOwner.get(owner) ?? []) {
        remove(book, row);
        flows.unlink(row.id);
      }
    },
    revokeAll() {
      flows.revoke();
      book.byKey.clear();
      book.byOwner.clear();
    },
    sweep: (now) => sweep(book, now),
    pollTimeout: () => book.sweepAt,
    size: () => book.byId.size,
    newest: (limit) => [...book.byId.values()].slice(-limit).reverse(),
  };
}

/** An id may be another record's by now. */
function rowOf<Note>(book: Book<Note>, flow: BookedFlow<unknown>): Row<Note> | undefined {
  const row = book.byId.get(flow.id);
  return row?.record === flow.record ? row : undefined;
}

function usageOf<Note>(book: Book<Note>, flow: BookedFlow<unknown>): FlowUsage | undefined {
  return rowOf(book, flow) && book.flows.usage(flow.id);
}

function link<Note>(book: Book<Note>, now: Instant, flow: DecidedFlow<Note>): BookedFlow<Note> | undefined {
  const id = book.flows.link(now, flow.record);
  if (id === undefined) return undefined;
  const row: Row<Note> = { ...flow, id, keys: keysOf(flow.record) };
  const former = book.byId.get(id);
  if (former !== undefined) {
    forget(book, former);
    book.displaced.set(id, [...(book.displaced.get(id) ?? []), former]);
  }
  book.byId.set(id, row);
  const rows = book.byOwner.get(flow.owner) ?? new Set();
  book.byOwner.set(flow.owner, rows.add(row));
  for (const key of row.keys) book.byKey.set(key, row);
  book.sweepAt ??= after(now, SWEEP_MS);
  return row;
}

function sweep<Note>(book: Book<Note>, now: Instant): readonly (EndedFlow & BookedFlow<Note>)[] {
  if (book.sweepAt === undefined || now < book.sweepAt) return [];
  const ended = book.flows.sweep(now).flatMap((flow) => {
    const row = book.displaced.get(flow.id)?.shift() ?? book.byId.get(flow.id);
    if (row === undefined) return [];
    remove(book, row);
    return [{ ...row, ...flow }];
  });
  book.displaced.clear();
  book.sweepAt = book.byId.size > 0 ? after(now, SWEEP_MS) : undefined;
  return ended;
}

function remove<Note>(book: Book<Note>, row: Row<Note>): void {
  if (book.byId.get(row.id) === row) book.byId.delete(row.id);
  forget(book, row);
}

/** It holds no more; the plane may still have it. */
function forget<Note>({ byKey, byOwner }: Book<Note>, row: Row<Note>): void {
  for (const key of row.keys) if (byKey.get(key) === row) byKey.delete(key);
  const rows = byOwner.get(row.owner);
  if (rows?.delete(row) && rows.size === 0) byOwner.delete(row.owner);
}

/** Inward a flow is found from its remote end, outside of a translation (TN-75). */
function keysOf({ protocol, client, remote, outside, out, in: inward }: FlowRecord): readonly string[] {
  const far = outside ?? { address: remote.address, port: client.port };
  // An echo has one identifier for both ends.
  const isEcho = remote.port === 0;
  const outKey = keyOf("out", {
    protocol,
    source: client.address,
    destination: remote.address,
    ports: { source: client.port, destination: isEcho ? client.port : remote.port },
  });
  const inKey = keyOf("in", {
    protocol,
    source: far.address,
    destination: client.address,
    ports: { source: isEcho ? far.port : remote.port, destination: far.port },
  });
  return [...(out === undefined ? [] : [outKey]), ...(inward === undefined ? [] : [inKey])];
}

/** One of the addresses is a client's, which nobody else has. */
function keyOf(direction: FlowDirection, { protocol, source, destination, ports }: FlowTuple): string {
  const { source: a, destination: b } = ports ?? { source: 0, destination: 0 };
  const head = String.fromCharCode(direction === "out" ? 1 : 2, protocol, a, b);
  return head + addressKey(source) + addressKey(destination);
}
