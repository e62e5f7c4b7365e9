/** Samples as Prometheus reads them: text format 0.0.4 (PG-114). Pure. */
import type { HistogramValue } from "../../base/index.ts";
import { FAMILIES, type Labels, type Sample } from "./families.ts";

export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** In the order of the table; a family without sample does not appear. */
export function formatMetrics(samples: readonly Sample[]): string {
  const byName = new Map<string, Sample[]>();
  for (const each of samples) {
    const own = byName.get(each.name);
    if (own === undefined) byName.set(each.name, [each]);
    else own.push(each);
  }
  let text = "";
  for (const [name, { help, type }] of Object.entries(FAMILIES)) {
    const own = byName.get(name);
    if (own === undefined) continue;
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const { labels, value } of own) {
      text += typeof value === "number" ? line(name, labels, value) : histogramLines(name, labels, value);
    }
  }
  return text;
}

function histogramLines(name: string, labels: Labels, { bounds, counts, sum }: HistogramValue): string {
  let count = 0;
  let text = "";
  for (const [i, bound] of [...bounds, Number.POSITIVE_INFINITY].entries()) {
    count += counts[i] ?? 0;
    text += line(`${name}_bucket`, { ...labels, le: formatNumber(bound) }, count);
  }
  return `${text}${line(`${name}_sum`, labels, sum)}${line(`${name}_count`, labels, count)}`;
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  const braces = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  return `${name}${braces} ${formatNumber(value)}\n`;
}

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
