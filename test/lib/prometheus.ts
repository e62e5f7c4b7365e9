/** Prometheus' text format, read as strictly as its reader does. */

const LINE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/;

export interface ReadSample {
  readonly name: string;
  /** As they stand between the braces. */
  readonly labels: string;
  readonly value: number;
}

/** Throws on what a reader would refuse: a line that is none, or a sample that comes twice. */
export function parseMetrics(text: string): readonly ReadSample[] {
  const seen = new Set<string>();
  return text
    .split("\n")
    .slice(0, -1)
    .filter((line) => !line.startsWith("#"))
    .map((line) => {
      const [, name = "", labels = "", value = ""] = LINE.exec(line) ?? [];
      const key = `${name}{${labels}}`;
      if (name === "" || seen.has(key)) throw new Error(`not to be read: ${line}`);
      seen.add(key);
      return { name, labels, value: value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value) };
    });
}

export function metricIn(samples: readonly ReadSample[], name: string, labels = ""): number | undefined {
  return samples.find((one) => one.name === name && one.labels === labels)?.value;
}
