/**
 * Flow logs: which flows of which clients went to which resources, and how much went through (TN-91).
 *
 * A pure machine. A flow of the log outlives the records that it has in the plane one after the other: a change of
 * policy makes a new record, but not another flow. What control itself settles, and what the plane has counted by a
 * record, are added up here. A new record is told of the FINs that an earlier one has seen, so that it does not wait
 * for them. A flow that is over without a record stays until nothing came for it for a while: else the last ACK, or
 * data that were under way when RST came, would begin another flow.
 */
import {
  after,
  createQueue,
  type Instant,
  type Queue,
  type SocketAddress,
  type UnixMs,
} from "../base/index.ts";
import type {
  FlowDirection,
  FlowEnd,
  FlowEnding,
  FlowFarewell,
  FlowRecord,
  FlowStamps,
  FlowUsage,
} from "../plane/index.ts";
import {
  DETACHED_FLOWS,
  FLOW_LOG_IDLE_MS,
  FLOW_LOG_PERIOD_MS,
  NAT_FIN_LINGER_MS,
  SWEEP_MS,
} from "./constants.ts";
import type { BookedFlow } from "./flow-book.ts";
import { tupleKey } from "./nat/keys.ts";
import type { Verdict } from "./verdict.ts";

type Row = BookedFlow<Verdict>;

/** What was known when the flow began, or was judged last. */
export interface FlowFacts {
  readonly resource: { readonly name?: string; readonly address?: string };
  /** The name that was asked for. */
  readonly domain?: string;
  /** Client and actor, by the names of the log's fields. */
  readonly subject: Readonly<Record<string, string>>;
}

/** In one direction; bytes are transport payload. */
export interface FlowTally {
  readonly packets: number;
  readonly bytes: number;
}

/** What is told of a flow, by the machine's own clock. */
export interface LoggedFlow {
  readonly protocol: number;
  readonly cid: string;
  readonly rid: string;
  readonly facts: FlowFacts;
  readonly client: FlowEnd;
  /** The resource itself, beyond a translation. */
  readonly real: FlowEnd;
  /** A flow that goes on after it was told of begins anew with that. */
  readonly start: Instant;
  readonly end: Instant;
  readonly lastPacket: Instant;
  /** Client to resource, and back. */
  readonly tx: FlowTally;
  readonly rx: FlowTally;
}

/** The same as the program hears of it: by the wall clock, and with the path. */
export interface FlowReport extends FlowFacts {
  readonly protocol: "tcp" | "udp";
  readonly cid: string;
  readonly rid: string;
  readonly client: SocketAddress;
  readonly real: SocketAddress;
  /** The path of the client's connection by now; absent: there is none. */
  readonly outer?: { readonly client: SocketAddress; readonly gateway: SocketAddress };
  readonly start: UnixMs;
  readonly end: UnixMs;
  readonly lastPacket: UnixMs;
  readonly tx: FlowTally;
  readonly rx: FlowTally;
}

export interface BeginningFlow {
  readonly cid: string;
  readonly rid: string;
  readonly row: Row;
  readonly facts: FlowFacts;
  /** Its first packet is a SYN: after FIN or RST another connection begins on the same ports (TN-78). */
  readonly isAnew: boolean;
  /** Its first packet has FIN or RST: the end of a flow that was told of before. */
  readonly isEnding: boolean;
}

export interface FlowLog {
  /** A record was linked: for a new flow, or one that goes on under another policy. */
  attach(now: Instant, flow: BeginningFlow): void;
  /** A packet that control settled, and the plane has not counted. */
  note(now: Instant, record: FlowRecord, direction: "out" | "in", payloadBytes: number): void;
  /** A record is gone; if it was only stale, its flow may go on by another one. */
  detach(now: Instant, record: FlowRecord, usage: FlowUsage, ending: FlowEnding): void;
  /** The flow of that client with these ends is not permitted any more. */
  refuse(now: Instant, cid: string, record: FlowRecord): void;
  /** Access has ended: of that resource, or of the client as a whole. */
  end(now: Instant, cid: string, rid?: string): void;
  endAll(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  poll(): LoggedFlow | undefined;
  /** Records of flows that were idle: without them, what comes next begins another flow. */
  pollIdle(): Row | undefined;
}

interface Tally {
  packets: number;
  bytes: number;
}

interface Open {
  readonly key: string;
  readonly cid: string;
  readonly rid: string;
  facts: FlowFacts;
  /** The record that counts for it now; absent: none does. */
  row: Row | undefined;
  readonly ends: FlowRecord;
  start: Instant;
  last: Instant;
  /** Of records that are gone, and of control. */
  readonly tx: Tally;
  readonly rx: Tally;
  /** What records that are gone have seen. */
  readonly farewells: Record<FlowDirection, FlowFarewell>;
  /**
   * Records whose counts are still to come, and what of them has been told already: the present one, and those that
   * were displaced, of which the plane tells later (TN-80).
   */
  readonly counting: Map<FlowRecord, Told>;
}

type Told = Readonly<Record<FlowDirection, FlowTally>>;

/** Of the plane's records that are linked. */
export interface LoggedRecords {
  /** What the plane has counted. */
  usage(row: Row): FlowUsage | undefined;
  /** FIN or RST that it has not seen by this record. */
  note(row: Row, direction: FlowDirection, farewell: FlowFarewell): void;
}

interface State {
  readonly records: LoggedRecords;
  readonly open: Map<string, Open>;
  readonly byClient: Map<string, Set<Open>>;
  /** Those without a record, in the order in which they lost it. */
  readonly detached: Set<Open>;
  /** When each is looked at next, by the second. */
  readonly due: Map<number, Set<Open>>;
  sweptS: number;
  /** When access ends, all flows of a gateway may be in them at once. */
  readonly told: Queue<LoggedFlow>;
  readonly idle: Queue<Row>;
}

const NOTHING: FlowTally = { packets: 0, bytes: 0 };
const NOTHING_TOLD: Told = { out: NOTHING, in: NOTHING };
const NO_FAREWELL: FlowFarewell = { hasFin: false, hasRst: false };
const DIRECTIONS = ["out", "in"] as const;

export function createFlowLog(records: LoggedRecords): FlowLog {
  const log: State = {
    records,
    open: new Map(),
    byClient: new Map(),
    detached: new Set(),
    due: new Map(),
    sweptS: 0,
    told: createQueue(),
    idle: createQueue(),
  };
  return {
    attach: (now, flow) => attach(log, now, flow),
    note(now, record, direction, payloadBytes) {
      const flow = log.open.get(keyOf(record));
      if (flow?.row?.record !== record) return;
      flow.last = now;
      const tally = direction === "out" ? flow.tx : flow.rx;
      tally.packets++;
      tally.bytes += payloadBytes;
    },
    detach(now, record, usage, ending) {
      const flow = log.open.get(keyOf(record));
      if (flow === undefined || !fold(flow, record, usage)) return;
      // Displaced, and told of late: another one counts by now.
      if (flow.row?.record !== record) return passOn(log, flow);
      flow.row = undefined;
      if (ending === "closed") return close(log, flow, flow.last);
      if (ending !== "stale" && ending !== "reset") return close(log, flow, now);
      setAside(log, now, flow);
    },
    refuse(now, cid, record) {
      const flow = log.open.get(keyOf(record));
      if (flow?.cid === cid) close(log, flow, now);
    },
    end(now, cid, rid) {
      for (const flow of log.byClient.get(cid) ?? []) {
        if (rid === undefined || flow.rid === rid) close(log, flow, now);
      }
    },
    endAll(now) {
      for (const flow of log.open.values()) close(log, flow, now);
    },
    handleTimeout: (now) => sweep(log, now),
    pollTimeout: () =>
      log.open.size === 0 ? undefined : after((log.sweptS * SWEEP_MS) as Instant, SWEEP_MS),
    poll: () => log.told.shift(),
    pollIdle: () => log.idle.shift(),
  };
}

function attach(log: State, now: Instant, beginning: BeginningFlow): void {
  const { cid, rid, row, isAnew, isEnding } = beginning;
  const { record } = row;
  const known = log.open.get(keyOf(record));
  if (known !== undefined) {
    settle(log, known);
    const isSame = known.cid === cid && known.rid === rid && isSameEnd(known.ends, record);
    if (isSame && !(isAnew && isClosing(known))) return goOn(log, now, known, beginning);
    // By another resource, to another address, or by another connection: another flow.
    close(log, known, now);
  }
  if (!isEnding) begin(log, now, beginning);
}

function goOn(log: State, now: Instant, flow: Open, { row, facts }: BeginningFlow): void {
  flow.row = row;
  flow.facts = facts;
  flow.last = now;
  flow.counting.set(row.record, NOTHING_TOLD);
  log.detached.delete(flow);
  passOn(log, flow);
}

/** The present record is to end as if it had seen what others have. */
function passOn({ records }: State, { farewells, row }: Open): void {
  if (row === undefined) return;
  for (const direction of DIRECTIONS) records.note(row, direction, farewells[direction]);
}

function begin(log: State, now: Instant, { cid, rid, row, facts }: BeginningFlow): void {
  const { record } = row;
  const key = keyOf(record);
  const flow: Open = {
    ...{ key, cid, rid, facts, row, ends: record, start: now, last: now },
    tx: { ...NOTHING },
    rx: { ...NOTHING },
    farewells: { out: NO_FAREWELL, in: NO_FAREWELL },
    counting: new Map([[record, NOTHING_TOLD]]),
  };
  if (log.open.size === 0) log.sweptS = secondOf(now);
  log.open.set(key, flow);
  const ofClient = log.byClient.get(cid) ?? new Set();
  log.byClient.set(cid, ofClient.add(flow));
  lookAt(log, flow, after(now, FLOW_LOG_IDLE_MS));
}

/** Without a record: what comes next may make another one, until it was quiet for long enough. */
function setAside(log: State, now: Instant, flow: Open): void {
  log.detached.add(flow);
  if (isOver(flow)) lookAt(log, flow, quietAt(flow));
  const [oldest] = log.detached;
  if (oldest !== undefined && log.detached.size > DETACHED_FLOWS) close(log, oldest, now);
}

function isClosing({ farewells }: Open): boolean {
  return DIRECTIONS.some((direction) => farewells[direction].hasFin || farewells[direction].hasRst);
}

/** As far as records that are gone have seen it. */
function isOver({ farewells: { out, in: inward } }: Open): boolean {
  return out.hasRst || inward.hasRst || (out.hasFin && inward.hasFin);
}

/** When nothing is expected any more. A flow that is over and has a record ends with that. */
function quietAt(flow: Open): Instant {
  return after(flow.last, flow.row === undefined && isOver(flow) ? NAT_FIN_LINGER_MS : FLOW_LOG_IDLE_MS);
}

/** Takes over what the present record has counted so far. */
function settle(log: State, flow: Open): void {
  const usage = flow.row && log.records.usage(flow.row);
  if (flow.row !== undefined && usage !== undefined) fold(flow, flow.row.record, usage);
  flow.row = undefined;
}

/** Takes over what a record has counted. Returns whether it was still to come. */
function fold(flow: Open, record: FlowRecord, usage: FlowUsage): boolean {
  const told = flow.counting.get(record);
  if (told === undefined) return false;
  flow.counting.delete(record);
  add(flow.tx, usage.out, told.out);
  add(flow.rx, usage.in, told.in);
  for (const direction of DIRECTIONS) {
    const [before, { hasFin, hasRst }] = [flow.farewells[direction], usage[direction]];
    flow.farewells[direction] = { hasFin: before.hasFin || hasFin, hasRst: before.hasRst || hasRst };
  }
  flow.last = lastOf(flow, usage);
  return true;
}

function add(tally: Tally, stamps: FlowTally, told: FlowTally): void {
  tally.packets += stamps.packets - told.packets;
  tally.bytes += stamps.bytes - told.bytes;
}

/** The plane stamps whole seconds. */
function lastOf(flow: Open, { out, in: inward }: FlowUsage): Instant {
  return Math.max(flow.last, out.last, inward.last) as Instant;
}

function close(log: State, flow: Open, now: Instant): void {
  settle(log, flow);
  log.open.delete(flow.key);
  log.detached.delete(flow);
  const ofClient = log.byClient.get(flow.cid);
  if (ofClient?.delete(flow) && ofClient.size === 0) log.byClient.delete(flow.cid);
  // It was over before anybody looked.
  tell(log, flow, isOver(flow) ? flow.last : now, { tx: flow.tx, rx: flow.rx });
}

function tell(
  log: State,
  { cid, rid, facts, ends, start, last }: Open,
  now: Instant,
  { tx, rx }: { readonly tx: FlowTally; readonly rx: FlowTally },
): void {
  const { protocol, client, remote, outside } = ends;
  const real = { address: outside?.address ?? remote.address, port: remote.port };
  const times = { start, end: now, lastPacket: last };
  log.told.push({ ...{ protocol, cid, rid, facts, client, real, ...times }, tx: { ...tx }, rx: { ...rx } });
}

function sweep(log: State, now: Instant): void {
  const nowS = secondOf(now);
  if (log.open.size === 0) log.due.clear();
  for (; log.sweptS < nowS && log.open.size > 0; log.sweptS++) {
    const flows = log.due.get(log.sweptS + 1);
    log.due.delete(log.sweptS + 1);
    for (const flow of flows ?? []) if (log.open.get(flow.key) === flow) look(log, flow, now);
  }
  log.sweptS = nowS;
}

/** A flow that is due: over its time, or a day old, or to be looked at again. */
function look(log: State, flow: Open, now: Instant): void {
  const usage = flow.row && log.records.usage(flow.row);
  if (usage !== undefined) flow.last = lastOf(flow, usage);
  if (now >= quietAt(flow)) {
    if (flow.row !== undefined) log.idle.push(flow.row);
    return close(log, flow, now);
  }
  if (now >= after(flow.start, FLOW_LOG_PERIOD_MS)) tellSoFar(log, flow, now, usage);
  lookAt(log, flow, quietAt(flow));
}

function tellSoFar(log: State, flow: Open, now: Instant, usage: FlowUsage | undefined): void {
  if (flow.row !== undefined && usage !== undefined) {
    const told = flow.counting.get(flow.row.record) ?? NOTHING_TOLD;
    add(flow.tx, usage.out, told.out);
    add(flow.rx, usage.in, told.in);
    flow.counting.set(flow.row.record, { out: tallyOf(usage.out), in: tallyOf(usage.in) });
  }
  tell(log, flow, now, { tx: flow.tx, rx: flow.rx });
  Object.assign(flow.tx, NOTHING);
  Object.assign(flow.rx, NOTHING);
  flow.start = now;
}

function tallyOf({ packets, bytes }: FlowStamps): FlowTally {
  return { packets, bytes };
}

function lookAt(log: State, flow: Open, at: Instant): void {
  const second = Math.max(Math.ceil(at / SWEEP_MS), log.sweptS + 1);
  const flows = log.due.get(second) ?? new Set();
  log.due.set(second, flows.add(flow));
}

function secondOf(now: Instant): number {
  return Math.floor(now / SWEEP_MS);
}

function isSameEnd(a: FlowRecord, b: FlowRecord): boolean {
  const [x, y] = [a.outside?.address ?? a.remote.address, b.outside?.address ?? b.remote.address];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}

/** As the client sees it: no two clients have one address. */
function keyOf({ protocol, client, remote }: FlowRecord): string {
  return tupleKey(protocol, client.port, client.address) + tupleKey(protocol, remote.port, remote.address);
}
