import { describe, expect, it } from "vitest";
import { COUNTERS, REASONS } from "../../../../bindings/memory/index.ts";
import { createHistogram } from "../../../../src/base/index.ts";
import {
  createLoopMeter,
  FAMILIES,
  formatMetrics,
  planeSamples,
  type Sample,
  sample,
  samplesBy,
} from "../../../../src/program/metrics/index.ts";
import { metricIn, parseMetrics } from "../../../lib/prometheus.ts";

describe("metrics as text", () => {
  it("PG-114: each family stands once, with help and type, in the order of the table", () => {
    const samples: Sample[] = [
      sample("postern_ready", 1),
      sample("postern_build_info", 1, { version: "1" }),
      ...samplesBy("postern_resources", "status", { online: 2, offline: 0 }),
    ];
    expect(formatMetrics(samples)).toBe(
      [
        `# HELP postern_build_info ${FAMILIES.postern_build_info.help}`,
        "# TYPE postern_build_info gauge",
        'postern_build_info{version="1"} 1',
        `# HELP postern_ready ${FAMILIES.postern_ready.help}`,
        "# TYPE postern_ready gauge",
        "postern_ready 1",
        `# HELP postern_resources ${FAMILIES.postern_resources.help}`,
        "# TYPE postern_resources gauge",
        'postern_resources{status="online"} 2',
        'postern_resources{status="offline"} 0',
        "",
      ].join("\n"),
    );
  });

  it("PG-114: buckets of a histogram add up, the last holds all, sum and count follow", () => {
    const histogram = createHistogram([1, 5]);
    for (const value of [0.5, 1, 1.5, 5, 6]) histogram.observe(value);
    const text = formatMetrics([sample("postern_loop_turn_seconds", histogram.read())]);
    expect(text.split("\n").slice(2)).toEqual([
      'postern_loop_turn_seconds_bucket{le="1"} 2',
      'postern_loop_turn_seconds_bucket{le="5"} 4',
      'postern_loop_turn_seconds_bucket{le="+Inf"} 5',
      "postern_loop_turn_seconds_sum 14",
      "postern_loop_turn_seconds_count 5",
      "",
    ]);
  });

  it("PG-114: quotes, backslashes and new lines of a label stay inside it", () => {
    const text = formatMetrics([sample("postern_peer_rx_bytes_total", 1, { peer: 'a"b\\c\nd' })]);
    expect(text).toContain('{peer="a\\"b\\\\c\\nd"} 1');
    expect(parseMetrics(text)).toHaveLength(1);
  });

  it("PG-114: a turn of the loop is observed in seconds, an exhausted one is counted", () => {
    const meter = createLoopMeter();
    meter.turn(1, false);
    meter.turn(3_000, true);
    const values = parseMetrics(formatMetrics(meter.samples()));
    expect(metricIn(values, "postern_loop_turn_seconds_bucket", 'le="0.001"')).toBe(1);
    expect(metricIn(values, "postern_loop_turn_seconds_bucket", 'le="2"')).toBe(1);
    expect(metricIn(values, "postern_loop_turn_seconds_count")).toBe(2);
    expect(metricIn(values, "postern_loop_exhausted_total")).toBe(1);
  });

  it("PG-114, PG-118: the plane's counters appear by reason, errno and flag, zeros included", () => {
    const zeros = Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0]));
    const worker = {
      counters: { ...zeros, packets_in: 7, super_frames_in: 1, super_frames_out: 2, udp_send_enobufs: 3 },
      drops: { wg_replay: 4 },
      sendErrnos: { 105: 5 },
      receiveErrnos: { 111: 6 },
      tunErrnos: {},
      batches: { bounds: [1, 2], counts: [3, 1, 0], sum: 5 },
      waits: { bounds: [16, 64], counts: [0, 1, 1], sum: 2_000_030 },
      epoch: 1,
    } as never;
    const queue = { entries: 2, bufferBytes: 176 };
    const queues = {
      ...{ egress_control: queue, egress_data: queue, ingress_control: queue, ingress_data: queue },
      inject: { entries: 0, bufferBytes: 0 },
    };
    const values = planeSamples({ egress: worker, ingress: worker, workers: [], injectFull: 8, queues });
    const find = (name: string, labels: object) =>
      values.find((one) => one.name === name && JSON.stringify(one.labels) === JSON.stringify(labels))?.value;
    expect(find("postern_dropped_total", { reason: "wg_replay", direction: "in" })).toBe(4);
    expect(find("postern_dropped_total", { reason: "wg_bad_tag", direction: "out" })).toBe(0);
    expect(values.filter(({ name }) => name === "postern_dropped_total")).toHaveLength(
      2 * Object.keys(REASONS).length,
    );
    expect(find("postern_io_errors_total", { errno: "ENOBUFS", direction: "send" })).toBe(5);
    expect(find("postern_io_errors_total", { errno: "ECONNREFUSED", direction: "receive" })).toBe(6);
    expect(find("postern_feature_used_total", { flag: "gso" })).toBe(2);
    expect(find("postern_feature_used_total", { flag: "enobufs_retry" })).toBe(3);
    expect(find("postern_queue_drops_total", { queue: "inject" })).toBe(8);
    expect(find("postern_batch_size", { direction: "out" })).toMatchObject({ counts: [3, 1, 0], sum: 5 });
    expect(find("postern_worker_wait_seconds", { worker: "ingress" })).toEqual({
      ...{ bounds: [16e-6, 64e-6], counts: [0, 1, 1], sum: 2.00003 },
    });
    expect(find("postern_queue_length", { queue: "ingress_data" })).toBe(2);
    expect(find("postern_buffers_in_use", { queue: "ingress_data" })).toBe(176);
  });
});
