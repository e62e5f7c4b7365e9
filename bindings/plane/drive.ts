/** The paths driven in process, as the loops drive them, but without system calls (D-15). */
import { assert, copyOf, type Instant, type IpAddress } from "../../src/base/index.ts";
import { parseSockaddr, VNET_HEADER_BYTES } from "../linux/index.ts";
import { CONSTANTS, OFFSETS, type PlaneExports, type SharedMemory } from "../memory/index.ts";
import type { PlaneDrive, PlaneReceive, PlaneSend } from "./face.ts";

/** An IP packet of any length behind its virtio_net_hdr. */
const FRAME_BYTES_MAX = 65_535 + VNET_HEADER_BYTES;
const { worker: WORKER, egress: EGRESS, ingress: INGRESS, coalesce: COALESCE } = OFFSETS;

export function createPlaneDrive(
  shared: SharedMemory,
  exports: PlaneExports,
  { egress, ingress }: { readonly egress: number; readonly ingress: number },
): PlaneDrive {
  /** Performs a step until no send is complete any more. */
  function sendsOf(step: (worker: number) => number): PlaneSend[] {
    const sends: PlaneSend[] = [];
    while (step(egress) !== 0) {
      sends.push(readSend(shared, egress));
      exports.sendDone(egress);
    }
    return sends;
  }

  function egressFrom(now: Instant, write: (into: Uint8Array) => number): PlaneSend[] {
    setNow(shared, egress, now);
    const injected = sendsOf(exports.egressInject);
    const input = inputOf(shared, egress);
    const length = write(shared.bytes.subarray(input, input + FRAME_BYTES_MAX));
    return length === 0 ? injected : [...injected, ...take(length)];
  }

  /** The frame in the input buffer. */
  function take(length: number): PlaneSend[] {
    exports.egressBegin(egress, length);
    return sendsOf(exports.egressStep);
  }

  return {
    records: { egress, ingress },
    egressFrom,
    egress(now, frame) {
      setNow(shared, egress, now);
      const injected = sendsOf(exports.egressInject);
      shared.bytes.set(frame, inputOf(shared, egress));
      // An empty one, too, is a frame: one that is refused.
      return [...injected, ...take(frame.length)];
    },
    flushEgress(now) {
      setNow(shared, egress, now);
      return [...sendsOf(exports.egressInject), ...sendsOf(exports.egressFlush)];
    },
    ...createIngress(shared, exports, ingress),
  };
}

type IngressDrive = Pick<
  PlaneDrive,
  "ingress" | "ingressOf" | "takeReplies" | "flushIngress" | "flushIngressTo"
>;

function createIngress(shared: SharedMemory, exports: PlaneExports, ingress: number): IngressDrive {
  /** What lies in the input buffer. */
  function open(length: number, strideBytes: number, take: (frame: Uint8Array) => void): void {
    exports.ingressBegin(ingress, length, strideBytes);
    while (exports.ingressStep(ingress) !== 0) lendFrames(shared, ingress, take);
    lendFrames(shared, ingress, take);
  }

  function flushIngressTo(now: Instant, take: (frame: Uint8Array) => void): void {
    setNow(shared, ingress, now);
    exports.ingressFlush(ingress);
    lendFrames(shared, ingress, take);
  }

  return {
    ingress(now, batch) {
      setNow(shared, ingress, now);
      writeMeta(shared, ingress, batch);
      shared.bytes.set(batch.bytes, inputOf(shared, ingress));
      return copiesOf((take) => open(batch.bytes.length, strideOf(batch), take));
    },
    ingressOf(now, { datagrams, ...meta }, take) {
      setNow(shared, ingress, now);
      writeMeta(shared, ingress, meta);
      const start = inputOf(shared, ingress);
      let at = start;
      for (const one of datagrams) {
        shared.bytes.set(one, at);
        at += one.length;
      }
      open(at - start, datagrams[0]?.length ?? 0, take);
    },
    takeReplies: () => takeReplies(shared, ingress),
    flushIngress: (now) => copiesOf((take) => flushIngressTo(now, take)),
    flushIngressTo,
  };
}

function copiesOf(act: (take: (frame: Uint8Array) => void) => void): Uint8Array[] {
  const frames: Uint8Array[] = [];
  act((frame) => frames.push(copyOf(frame)));
  return frames;
}

function inputOf({ words }: SharedMemory, worker: number): number {
  return (words[(worker + WORKER.input) >> 2] ?? 0) + CONSTANTS.BUFFER_LEAD;
}

function setNow({ longs }: SharedMemory, worker: number, now: Instant): void {
  longs[(worker + WORKER.now) >> 3] = BigInt(Math.floor(now));
}

/** The send that is complete. */
function readSend(shared: SharedMemory, egress: number): PlaneSend {
  const { words, bytes } = shared;
  const word = (field: number) => words[(egress + field) >> 2] ?? 0;
  const name = egress + EGRESS.sendName;
  const to = parseSockaddr(bytes.subarray(name, name + word(EGRESS.sendNameBytes)));
  assert(to.ok, "a path leads to a socket address");
  const at = word(WORKER.output) + CONSTANTS.BUFFER_LEAD;
  return {
    slot: word(EGRESS.sendSlot),
    to: to.value,
    source: readSource(shared, egress),
    ecn: word(EGRESS.sendEcn),
    bytes: copyOf(bytes.subarray(at, at + word(EGRESS.sendBytes))),
    segmentBytes: word(EGRESS.sendSegment),
  };
}

/** Lends the listed frames, whose room is free afterwards. */
function lendFrames(
  { words, bytes }: SharedMemory,
  ingress: number,
  take: (frame: Uint8Array) => void,
): void {
  const record = (ingress + INGRESS.coalesce) >> 2;
  const word = (field: number, i: number) => words[record + (field >> 2) + i] ?? 0;
  const count = word(COALESCE.count, 0);
  words[record + (COALESCE.count >> 2)] = 0;
  for (let i = 0; i < count; i++) {
    const at = word(COALESCE.listAddress, i);
    take(bytes.subarray(at, at + word(COALESCE.listBytes, i)));
  }
}

/** Copies of the cookie replies that the loop would send. */
function takeReplies({ words, bytes }: SharedMemory, ingress: number): Uint8Array[] {
  const count = words[(ingress + INGRESS.replyCount) >> 2] ?? 0;
  words[(ingress + INGRESS.replyCount) >> 2] = 0;
  return Array.from({ length: count }, (_, i) => {
    const at = ingress + INGRESS.replies + i * CONSTANTS.COOKIE_REPLY_BYTES;
    return copyOf(bytes.subarray(at, at + CONSTANTS.COOKIE_REPLY_BYTES));
  });
}

function strideOf({ bytes, segmentBytes }: PlaneReceive): number {
  // One short datagram of a sender that would have sent longer ones is a batch of its own.
  return segmentBytes === undefined ? bytes.length : Math.min(segmentBytes, bytes.length);
}

function readSource(shared: SharedMemory, egress: number): IpAddress | undefined {
  const length = shared.words[(egress + EGRESS.sendSourceBytes) >> 2] ?? 0;
  if (length === 0) return undefined;
  const at = egress + EGRESS.sendSource;
  return copyOf(shared.bytes.subarray(at, at + length));
}

/** What the loop reads from the name and the control messages of a receive. */
function writeMeta(
  { words, bytes }: SharedMemory,
  ingress: number,
  { from, local, ecn = 0 }: Omit<PlaneReceive, "bytes" | "segmentBytes">,
): void {
  words[(ingress + WORKER.fromBytes) >> 2] = from.address.length;
  words[(ingress + WORKER.fromPort) >> 2] = from.port;
  words[(ingress + WORKER.fromScope) >> 2] = from.scope ?? 0;
  words[(ingress + WORKER.localBytes) >> 2] = local?.length ?? 0;
  words[(ingress + WORKER.outerEcn) >> 2] = ecn;
  bytes.fill(0, ingress + WORKER.from, ingress + WORKER.from + 16);
  bytes.set(from.address, ingress + WORKER.from);
  bytes.fill(0, ingress + WORKER.local, ingress + WORKER.local + 16);
  if (local !== undefined) bytes.set(local, ingress + WORKER.local);
}
