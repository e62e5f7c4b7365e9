/**
 * Scripts of segments, in the manner of packetdrill: what the peer sends, what the application does, and what has to
 * come of it, each at its time.
 *
 *     +0   < S 0:0(0) win 65535 <mss 1240,sackOK,ts 100 ecr 0,wscale 7>
 *     +0   > S. 0:0(0) ack 1 <mss 1240,sackOK,ts 0 ecr 100,wscale 7>
 *     +10  < . 1:1(0) ack 1 win 512 <ts 110 ecr 0>
 *     +0   * opened
 *     +0   send 3000
 *     +0   > . 1:1229(1228) ack 1
 *
 * `+MS`: after so many milliseconds; deadlines in between are kept. `<` comes in, `>` must go out at that moment, `*` is
 * an event. Everything that goes out, and every event, must be in the script. Numbers are relative: each side's SYN is 0,
 * its data begin at 1. Time stamps of ours are the script's milliseconds. What an expectation does not mention (`ack`,
 * `win`, options) is not compared; PSH never is.
 */
import {
  createSeededRandom,
  type Instant,
  instant,
  ip,
  type SocketAddress,
} from "../../../src/base/index.ts";
import { encodeIcmp, viewPacket } from "../../../src/packet/index.ts";
import { encodeSegment } from "../../../src/tcp/encode.ts";
import {
  createTcpHost,
  FRAME_BYTES_MAX,
  type TcpEvent,
  type TcpHost,
  type TcpHostOptions,
} from "../../../src/tcp/index.ts";
import { parseSegment, type SackBlock, type Segment } from "../../../src/tcp/segment.ts";
import { dueUntil } from "../../lib/bounds.ts";

export const OURS: SocketAddress = { address: ip("100.64.0.5"), port: 80 };
export const PEER: SocketAddress = { address: ip("100.64.0.6"), port: 40_000 };
/**
 * The beginning of most scripts: a peer like Linux has opened; the round trip is 10 ms, its window 65,536, a segment
 * has 1,228 octets.
 */
export const OPEN = `
  +0   < S 0:0(0) win 65535 <mss 1240,sackOK,ts 1000 ecr 0,wscale 7>
  +0   > S. 0:0(0) ack 1 win 65535 <mss 1240,sackOK,ts 0 ecr 1000,wscale 7>
  +10  < . 1:1(0) ack 1 win 512 <ts 1010 ecr 0>
  +0   * opened
`;
const START_MS = 100_000;
const PEER_ISN = 0xffff_fff0;

export interface ScriptOptions extends Partial<TcpHostOptions> {
  /** Super-segments, by `pollFrame`. */
  readonly isSuper?: boolean;
}

/** What is compared of a segment. */
interface Described {
  readonly flags: string;
  readonly seq: number;
  readonly length: number;
  readonly ack?: number;
  readonly win?: number;
  readonly mss?: number;
  readonly wscale?: number;
  readonly sackOK?: boolean;
  readonly ts?: string;
  readonly sack?: string;
  readonly gso?: number;
}

interface Happened {
  readonly atMs: number;
  readonly what: string;
  readonly segment?: Described;
}

interface Run {
  readonly host: TcpHost;
  readonly options: ScriptOptions;
  readonly happened: Happened[];
  nowMs: number;
  id: number | undefined;
  /** Ours; known from the first segment that is sent. */
  iss: number | undefined;
  timestampOffset: number;
  /** The last segment of ours, for ICMP errors. */
  lastSent: Uint8Array | undefined;
}

/** Runs a script to its end. @returns the host, as it is then */
export function runScript(text: string, options: ScriptOptions = {}): TcpHost {
  const random = createSeededRandom(1);
  const run: Run = {
    host: createTcpHost({ random, admit: () => "accept", ...options }),
    options,
    happened: [],
    nowMs: 0,
    id: undefined,
    iss: undefined,
    timestampOffset: 0,
    lastSent: undefined,
  };
  const lines = text
    .split("\n")
    .map((line) => line.replace(/\/\/.*/, "").trim())
    .filter((line) => line !== "");
  for (const line of lines) step(run, line);
  if (run.happened.length > 0) throw new Error(`behind the last line: ${show(run.happened)}`);
  return run.host;
}

/** Segments, events, and what `send` had room for. */
const EXPECTED: readonly string[] = [">", "*", "taken"];

function step(run: Run, line: string): void {
  const { after, kind, rest } = /^\+(?<after>[\d.]+)\s+(?<kind>\S+)\s*(?<rest>.*)$/.exec(line)?.groups ?? {};
  if (after === undefined || kind === undefined || rest === undefined) throw new Error(`no line: ${line}`);
  passTime(run, run.nowMs + Number(after));
  if (EXPECTED.includes(kind)) return expectNext(run, line, kind, rest);
  if (run.happened.length > 0) throw new Error(`before "${line}": ${show(run.happened)}`);
  act(run, line, kind, rest);
  drain(run);
}

function passTime(run: Run, untilMs: number): void {
  const until = START_MS + untilMs;
  for (let due = dueUntil(run.host, until); due !== undefined; due = dueUntil(run.host, until)) {
    run.nowMs = Math.max(run.nowMs, due - START_MS);
    run.host.handleTimeout(due);
    drain(run);
    const next = run.host.pollTimeout();
    if (next !== undefined && next <= due)
      throw new Error(`the poll law: a deadline that is past, at ${due}`);
  }
  run.nowMs = untilMs;
}

function act(run: Run, line: string, kind: string, rest: string): void {
  const { host } = run;
  const now = nowOf(run);
  const id = run.id ?? 1;
  switch (kind) {
    case "<":
      host.handlePacket(now, encodePeer(run, rest));
      return;
    case "connect":
      run.id = host.connect(now, OURS, PEER, JSON.parse(rest || "{}"));
      return;
    case "send": {
      const taken = host.send(now, id, new Uint8Array(Number(rest)));
      if (taken < Number(rest)) note(run, `taken ${taken}`);
      return;
    }
    case "take":
      return host.take(now, id, Number(rest));
    case "end":
      return host.end(now, id);
    case "abort":
      return host.abort(now, id);
    case "keepalive":
      return host.keepAlive(now, id, Number(rest));
    case "icmp":
      return giveIcmp(run, rest);
    case "wait":
      return;
    default:
      throw new Error(`no such step: ${line}`);
  }
}

/** IPv4's header, then flags and urgent pointer of TCP's. */
const FLAGS_AT = 20 + 13;
const URGENT_AT = 20 + 18;
const URG = 32;

function encodePeer(run: Run, rest: string): Uint8Array {
  const packet = encodeSegment(PEER, OURS, fromPeer(run, rest));
  if (!rest.startsWith("U")) return packet;
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint8(FLAGS_AT, view.getUint8(FLAGS_AT) | URG);
  view.setUint16(URGENT_AT, 5);
  return packet;
}

const nowOf = (run: Run): Instant => instant(START_MS + run.nowMs);

/** `icmp TYPE CODE [MTU] [seq N]`: about the last segment of ours, or another number. */
function giveIcmp(run: Run, rest: string): void {
  const { type, code, mtu, seq } =
    /^(?<type>\d+) (?<code>\d+)(?: (?<mtu>\d+))?(?: seq (?<seq>-?\d+))?$/.exec(rest)?.groups ?? {};
  const quoted = run.lastSent?.slice() ?? new Uint8Array(0);
  if (seq !== undefined) {
    new DataView(quoted.buffer).setUint32(24, ((run.iss ?? 0) + Number(seq)) >>> 0);
  }
  const packet = encodeIcmp({
    ...{ source: ip("192.0.2.1"), destination: OURS.address, type: Number(type), code: Number(code) },
    rest: Uint8Array.of(0, 0, Number(mtu ?? 0) >> 8, Number(mtu ?? 0) & 0xff),
    body: quoted.subarray(0, 28),
  });
  if (!packet.ok) throw new Error(packet.reason);
  run.host.handleIcmp(nowOf(run), packet.value);
}

const SEGMENT =
  /^(?<flags>[SFRPU.]+) (?<seq>-?\d+):(?<end>-?\d+)\((?<length>\d+)\)(?: ack (?<ack>-?\d+))?(?: win (?<win>\d+))?(?: gso (?<gso>\d+))?(?: <(?<options>[^>]*)>)?$/;

function parse(text: string): Record<string, string | undefined> {
  const groups = SEGMENT.exec(text)?.groups;
  if (groups === undefined) throw new Error(`no segment: ${text}`);
  return groups;
}

function optionsOf(text: string | undefined): Map<string, string> {
  const parts = (text ?? "").split(",").filter((part) => part !== "");
  return new Map(parts.map((part) => [part.split(" ")[0] ?? "", part.split(" ").slice(1).join(" ")]));
}

function fromPeer(run: Run, text: string): Segment {
  const { flags = "", seq, length, ack, win, options } = parse(text);
  const given = optionsOf(options);
  const [value, echo] = (given.get("ts") ?? "").split(" ecr ");
  const sacks = given
    .get("sack")
    ?.split(" ")
    .map((block): SackBlock => {
      const [start, end] = block.split(":");
      return { start: ours(run, Number(start)), end: ours(run, Number(end)) };
    });
  return {
    seq: (PEER_ISN + Number(seq)) >>> 0,
    ack: ack === undefined ? 0 : ours(run, Number(ack)),
    isSyn: flags.includes("S"),
    isAck: flags.includes("."),
    isFin: flags.includes("F"),
    isRst: flags.includes("R"),
    window: Number(win ?? 65_535),
    ...(given.has("mss") && { mss: Number(given.get("mss")) }),
    ...(given.has("wscale") && { windowShift: Number(given.get("wscale")) }),
    ...(given.has("sackOK") && { isSackPermitted: true }),
    ...(given.has("ts") && {
      timestamp: { value: Number(value), echo: (run.timestampOffset + Number(echo)) >>> 0 },
    }),
    ...(sacks !== undefined && { sacks }),
    payload: new Uint8Array(Number(length)),
  };
}

const ours = (run: Run, relative: number): number => ((run.iss ?? 0) + relative) >>> 0;

function drain(run: Run): void {
  for (let event = run.host.pollEvent(); event !== undefined; event = run.host.pollEvent()) {
    if (event.kind === "opened") run.id ??= event.id;
    note(run, `* ${describeEvent(event)}`);
  }
  if (run.options.isSuper === true) {
    const into = new Uint8Array(FRAME_BYTES_MAX);
    for (let length = run.host.pollFrame(into); length > 0; length = run.host.pollFrame(into)) {
      const gso = new DataView(into.buffer).getUint16(4, true);
      noteSent(run, into.slice(10, length), gso === 0 ? undefined : gso);
    }
    return;
  }
  for (let packet = run.host.pollPacket(); packet !== undefined; packet = run.host.pollPacket()) {
    noteSent(run, packet, undefined);
  }
}

function note(run: Run, what: string): void {
  run.happened.push({ atMs: run.nowMs, what });
}

function noteSent(run: Run, packet: Uint8Array, gso: number | undefined): void {
  const read = parseSegment(viewPacket(packet));
  if (!read.ok) throw new Error(read.reason);
  const segment = read.value;
  run.lastSent = packet;
  if (run.iss === undefined) {
    run.iss = segment.seq;
    run.timestampOffset = ((segment.timestamp?.value ?? 0) - run.nowMs) >>> 0;
  }
  const described = describe(run, segment, gso);
  run.happened.push({ atMs: run.nowMs, what: `> ${showSegment(described)}`, segment: described });
}

function describe(run: Run, segment: Segment, gso: number | undefined): Described {
  const { seq, ack, window, payload, mss, windowShift, isSackPermitted, timestamp, sacks } = segment;
  const flags = [
    segment.isSyn ? "S" : "",
    segment.isFin ? "F" : "",
    segment.isRst ? "R" : "",
    segment.isAck ? "." : "",
  ].join("");
  const block = ({ start, end }: SackBlock): string => `${(start - PEER_ISN) | 0}:${(end - PEER_ISN) | 0}`;
  return {
    flags,
    seq: (seq - (run.iss ?? 0)) | 0,
    length: payload.length,
    ack: segment.isAck ? (ack - PEER_ISN) | 0 : 0,
    win: window,
    ...(mss !== undefined && { mss }),
    ...(windowShift !== undefined && { wscale: windowShift }),
    ...(isSackPermitted === true && { sackOK: true }),
    ...(timestamp !== undefined && {
      ts: `${(timestamp.value - run.timestampOffset) | 0} ecr ${timestamp.echo}`,
    }),
    ...(sacks !== undefined && { sack: sacks.map(block).join(" ") }),
    ...(gso !== undefined && { gso }),
  };
}

function describeEvent(event: TcpEvent): string {
  switch (event.kind) {
    case "data":
      return `data ${event.bytes.length}`;
    case "closed":
      return `closed ${event.reason}`;
    case "soft-error":
      return `soft-error ${event.error}`;
    default:
      return event.kind;
  }
}

function showSegment({ flags, seq, length, ack, win, gso, ...options }: Described): string {
  const shown = Object.entries(options).map(([name, value]) => (value === true ? name : `${name} ${value}`));
  const end = seq + length;
  const size = gso === undefined ? "" : ` gso ${gso}`;
  return `${flags} ${seq}:${end}(${length}) ack ${ack} win ${win}${size} <${shown.join(",")}>`;
}

const show = (happened: readonly Happened[]): string =>
  happened.map(({ atMs, what }) => `\n  at ${atMs} ${what}`).join("");

function expectNext(run: Run, line: string, kind: string, rest: string): void {
  const index = run.happened.findIndex(({ what }) => what.startsWith(kind));
  const next = run.happened[index];
  const seen = `${show(run.happened)}\n  (now ${run.nowMs})`;
  if (next === undefined) throw new Error(`wanted "${line}", but:${seen}`);
  if (next.atMs !== run.nowMs) throw new Error(`wanted "${line}" at this time:${seen}`);
  const isSame =
    next.segment === undefined ? next.what === `${kind} ${rest}` : isAsWanted(next.segment, parse(rest));
  if (!isSame) throw new Error(`wanted "${line}", but:${seen}`);
  run.happened.splice(index, 1);
}

function isAsWanted(segment: Described, wanted: Record<string, string | undefined>): boolean {
  const { flags = "", seq, length, ack, win, gso, options } = wanted;
  const given = optionsOf(options);
  const isOption = (name: string): boolean => {
    const value = Object.entries(segment).find(([key]) => key === name)?.[1];
    return given.get(name) === "" ? value !== undefined : String(value) === given.get(name);
  };
  return (
    segment.flags === [...flags].filter((flag) => flag !== "P").join("") &&
    segment.seq === Number(seq) &&
    segment.length === Number(length) &&
    (ack === undefined || segment.ack === Number(ack)) &&
    (win === undefined || segment.win === Number(win)) &&
    (gso === undefined ? segment.gso === undefined : segment.gso === Number(gso)) &&
    [...given.keys()].every((name) => (name === "none" ? segment.ts === undefined : isOption(name)))
  );
}
