/** Samples as OTLP/HTTP takes them: one `ExportMetricsServiceRequest` in its JSON form (PG-116). Pure. */

import type { HistogramValue } from "../../base/index.ts";
import { malformed, type Parsed, parsed } from "../../base/index.ts";
import { FAMILIES, type Labels, type MetricFamily, type Sample } from "./families.ts";

/** `AGGREGATION_TEMPORALITY_CUMULATIVE` of metrics.proto: each value counts from the start of the process. */
const CUMULATIVE = 2;

export interface OtlpReport {
  readonly samples: readonly Sample[];
  /** Of the resource: who measures. An absent value is left out. */
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Unix time in milliseconds: when counting began, and now. */
  readonly startMs: number;
  readonly nowMs: number;
}

/** The names are those of the text form, so that both can be compared. */
export function formatOtlp({ samples, attributes, version, startMs, nowMs }: OtlpReport): string {
  const times: Times = { startTimeUnixNano: nanoseconds(startMs), timeUnixNano: nanoseconds(nowMs) };
  const metrics = Object.entries(FAMILIES).flatMap(([name, family]) => {
    const own = samples.filter((sample) => sample.name === name);
    return own.length === 0 ? [] : [metricOf(name, family, own, times)];
  });
  return JSON.stringify({
    resourceMetrics: [
      {
        resource: { attributes: keyValues(attributes) },
        scopeMetrics: [{ scope: { name: "postern", version }, metrics }],
      },
    ],
  });
}

/**
 * `OTEL_RESOURCE_ATTRIBUTES`: `key=value,…`, percent-encoded. One bad entry voids the whole, as
 * OpenTelemetry's resource SDK has it.
 */
export function parseResourceAttributes(text: string): Parsed<Readonly<Record<string, string>>> {
  const attributes: Record<string, string> = {};
  for (const entry of text.split(",")) {
    if (entry.trim() === "") continue;
    const match = /^\s*([^=\s]+)\s*=(.*)$/.exec(entry);
    if (match === null) return malformed("has an entry without key or '='");
    const [, key = "", value = ""] = match;
    try {
      attributes[decodeURIComponent(key)] = decodeURIComponent(value.trim());
    } catch {
      return malformed("has a broken percent sign");
    }
  }
  return parsed(attributes);
}

interface Times {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

function metricOf(name: string, { type, help }: MetricFamily, own: readonly Sample[], times: Times): unknown {
  const dataPoints = own.map(({ labels, value }) => ({
    attributes: keyValues(labels),
    ...times,
    ...(typeof value === "number" ? { asDouble: value } : histogramPoint(value)),
  }));
  const about = { name, description: help };
  switch (type) {
    case "gauge":
      return { ...about, gauge: { dataPoints } };
    case "counter":
      return { ...about, sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints } };
    case "histogram":
      return { ...about, histogram: { aggregationTemporality: CUMULATIVE, dataPoints } };
  }
}

/** Numbers of 64 bits are text in protobuf's JSON form. */
function histogramPoint({ bounds, counts, sum }: HistogramValue): object {
  return {
    count: String(counts.reduce((total, count) => total + count, 0)),
    sum,
    bucketCounts: counts.map(String),
    explicitBounds: bounds,
  };
}

function keyValues(labels: Labels | OtlpReport["attributes"]): readonly unknown[] {
  return Object.entries(labels).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: { stringValue: value } }],
  );
}

/** In whole milliseconds: as a number it would lose its last digits. */
function nanoseconds(ms: number): string {
  return `${Math.floor(ms)}000000`;
}
