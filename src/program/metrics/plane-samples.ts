/** What the packet plane has counted, as metrics (PG-114). Pure. */
import { errnoName } from "../../../bindings/linux/index.ts";
import { REASON_NAMES } from "../../../bindings/memory/index.ts";
import type { Plane, WorkerCounters } from "../../../bindings/plane/index.ts";
import { inSeconds, type Sample, sample, samplesBy } from "./families.ts";

type PlaneCounters = ReturnType<Plane["counters"]>;

const WORKERS = ["egress", "ingress"] as const;
type Worker = (typeof WORKERS)[number];

const DIRECTION = { egress: "out", ingress: "in" } as const;
/** Where a worker takes packets from, and where it brings them. */
const PLANES = { egress: { from: "tun", to: "udp" }, ingress: { from: "udp", to: "tun" } } as const;

/** @param asked how often TN-36 has acted */
export function planeSamples(plane: PlaneCounters, asked = 0): readonly Sample[] {
  return [
    ...WORKERS.flatMap((worker) => workerSamples(worker, plane[worker])),
    ...featureSamples(plane, asked),
    ...Object.entries(plane.queues).flatMap(([queue, { entries, bufferBytes }]) => [
      sample("postern_queue_length", entries, { queue }),
      sample("postern_buffers_in_use", bufferBytes, { queue }),
    ]),
    sample("postern_queue_drops_total", plane.injectFull, { queue: "inject" }),
  ];
}

function workerSamples(
  worker: Worker,
  { counters, drops, batches, waits, ...errnos }: WorkerCounters,
): readonly Sample[] {
  const direction = DIRECTION[worker];
  const { from, to } = PLANES[worker];
  // All of them from the start: a rate needs the zero before the first event.
  const byReason = Object.fromEntries(REASON_NAMES.filter((name) => name !== "").map((name) => [name, 0]));
  return [
    sample("postern_packets_total", counters.packets_in, { direction: "in", plane: from }),
    sample("postern_packets_total", counters.segments_out, { direction: "out", plane: to }),
    sample("postern_bytes_total", counters.bytes_in, { direction: "in", plane: from }),
    sample("postern_bytes_total", counters.bytes_out, { direction: "out", plane: to }),
    ...samplesBy("postern_dropped_total", "reason", { ...byReason, ...drops }, { direction }),
    ...errnoSamples(worker === "egress" ? "send" : "receive", {
      ...errnos[worker === "egress" ? "sendErrnos" : "receiveErrnos"],
    }),
    ...errnoSamples(worker === "egress" ? "tun_read" : "tun_write", errnos.tunErrnos),
    sample("postern_batch_size", batches, { direction }),
    sample("postern_worker_wait_seconds", inSeconds(waits, 1e6), { worker }),
    ...samplesBy("postern_worker_total", "counter", counters, { worker }),
  ];
}

function errnoSamples(direction: string, errnos: Readonly<Record<number, number>>): readonly Sample[] {
  const named = Object.fromEntries(
    Object.entries(errnos).map(([number, times]) => [errnoName(Number(number)), times]),
  );
  return samplesBy("postern_io_errors_total", "errno", named, { direction });
}

/** Each time that what a flag governs has acted (PG-118). */
function featureSamples({ egress, ingress }: PlaneCounters, asked: number): readonly Sample[] {
  const [out, into] = [egress.counters, ingress.counters];
  return samplesBy("postern_feature_used_total", "flag", {
    gso: out.super_frames_out,
    gro: into.super_frames_in,
    tun_offload: out.super_frames_in + into.super_frames_out,
    enobufs_retry: out.udp_send_enobufs,
    icmp_error_creates_flow: asked,
  });
}
