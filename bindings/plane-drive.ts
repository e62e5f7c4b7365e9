/** The paths driven in process, as the loops drive them, but without system calls (D-15). */
import { copyOf, type Instant, type IpAddress, type SocketAddress } from "../src/base/index.ts";
import { CONSTANTS, OFFSETS } from "./layout.ts";
import { parseSockaddr } from "./linux/sockaddr.ts";
import type { PlaneDrive, PlaneReceive, PlaneSend } from "./plane-face.ts";
import type { PlaneExports } from "./plane-module.ts";
import type { SharedMemory } from "./shared-memory.ts";

const { worker: WORKER, egress: EGRESS, ingress: INGRESS, coalesce: COALESCE } = OFFSETS;

export function createPlaneDrive(
  shared: SharedMemory,
  exports: PlaneExports,
  workers: { readonly egress: number; readonly ingress: number },
  /** Called before every drive: in process nothing that control does is still under way. */
  settle: () => void,
): PlaneDrive {
  const { egress, ingress } = workers;
  const word = (at: number) => shared.words[at >> 2] ?? 0;
  const inputOf = (worker: number) => word(worker + WORKER.input) + CONSTANTS.BUFFER_LEAD;
  const setNow = (worker: number, now: Instant) => {
    shared.longs[(worker + WORKER.now) >> 3] = BigInt(Math.floor(now));
  };

  function takeSend(): PlaneSend {
    const name = egress + EGRESS.sendName;
    const to = parseSockaddr(shared.bytes.subarray(name, name + word(egress + EGRESS.sendNameBytes)));
    if (!to.ok) throw new Error("a path leads to a socket address");
    const at = word(egress + WORKER.output) + CONSTANTS.BUFFER_LEAD;
    const send = {
      slot: word(egress + EGRESS.sendSlot),
      to: to.value,
      source: readSource(shared, egress),
      ecn: word(egress + EGRESS.sendEcn),
      bytes: copyOf(shared.bytes.subarray(at, at + word(egress + EGRESS.sendBytes))),
      segmentBytes: word(egress + EGRESS.sendSegment),
    };
    exports.sendDone(egress);
    return send;
  }

  function takeFrames(frames: Uint8Array[]): void {
    const record = ingress + INGRESS.coalesce;
    for (let i = 0; i < word(record + COALESCE.count); i++) {
      const at = word(record + COALESCE.listAddress + 4 * i);
      frames.push(copyOf(shared.bytes.subarray(at, at + word(record + COALESCE.listBytes + 4 * i))));
    }
    shared.words[(record + COALESCE.count) >> 2] = 0;
  }

  function drain(sends: PlaneSend[]): void {
    while (exports.egressSettle(egress) !== 0) sends.push(takeSend());
  }

  return {
    egress(now, frame) {
      settle();
      setNow(egress, now);
      const sends: PlaneSend[] = [];
      drain(sends);
      shared.bytes.set(frame, inputOf(egress));
      exports.egressBegin(egress, frame.length);
      while (exports.egressStep(egress) !== 0) sends.push(takeSend());
      return sends;
    },
    flushEgress(now) {
      settle();
      setNow(egress, now);
      const sends: PlaneSend[] = [];
      drain(sends);
      if (exports.egressFlush(egress) !== 0) sends.push(takeSend());
      return sends;
    },
    ingress(now, batch) {
      setNow(ingress, now);
      writeMeta(shared, ingress, batch.from, batch.local, batch.ecn ?? 0);
      shared.bytes.set(batch.bytes, inputOf(ingress));
      const frames: Uint8Array[] = [];
      exports.ingressBegin(ingress, batch.bytes.length, strideOf(batch));
      while (exports.ingressStep(ingress) !== 0) takeFrames(frames);
      takeFrames(frames);
      return frames;
    },
    flushIngress(now) {
      setNow(ingress, now);
      const frames: Uint8Array[] = [];
      exports.ingressFlush(ingress);
      takeFrames(frames);
      return frames;
    },
  };
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
  shared: SharedMemory,
  ingress: number,
  from: SocketAddress,
  local: IpAddress | undefined,
  ecn: number,
): void {
  const { words, bytes } = shared;
  words[(ingress + INGRESS.fromBytes) >> 2] = from.address.length;
  words[(ingress + INGRESS.fromPort) >> 2] = from.port;
  words[(ingress + INGRESS.localBytes) >> 2] = local?.length ?? 0;
  words[(ingress + INGRESS.outerEcn) >> 2] = ecn;
  bytes.fill(0, ingress + INGRESS.from, ingress + INGRESS.from + 16);
  bytes.set(from.address, ingress + INGRESS.from);
  bytes.fill(0, ingress + INGRESS.local, ingress + INGRESS.local + 16);
  if (local !== undefined) bytes.set(local, ingress + INGRESS.local);
}
