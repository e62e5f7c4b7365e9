/** How much client, gateway and relays hold, by their own metrics: after idling it is what it was at first (TS-62). */

const ADDRESS = "127.0.0.1:9464";
/** For client and gateway. */
export const METRICS_ARGS = ["--metrics-addr", ADDRESS];

/** Gauges that say how full a table, a queue or a buffer is; of all their labels together. */
const TABLES = /^(postern_(?:flows|queue_length|buffers_in_use|connections))(?:\{[^}]*\})? (\S+)$/gm;
const GSO_DISABLED = /^postern_worker_total\{[^}]*counter="gso_disabled"[^}]*\} (\S+)$/gm;

const textOf = (end) =>
  end.run("curl", ["--silent", "--fail", "--max-time", "5", `http://${ADDRESS}/metrics`]);

/** @returns {Promise<Map<string, number>>} by side and metric */
export async function readTables({ near, far }) {
  const tables = new Map();
  for (const [side, end] of Object.entries({ client: near, gateway: far })) {
    for (const [, name, value] of (await textOf(end)).matchAll(TABLES)) {
      const table = `${side} ${name}`;
      tables.set(table, (tables.get(table) ?? 0) + Number(value));
    }
  }
  return tables;
}

/** How often the kernel's refusal has switched segmentation off at this end, since its program has started (PG-46). */
export async function gsoRefusals(end) {
  const values = [...(await textOf(end)).matchAll(GSO_DISABLED)];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Which tables are not as before, in words. */
export function tablesLeft(before, after) {
  return [...after]
    .filter(([name, value]) => value > (before.get(name) ?? 0))
    .map(([name, value]) => `after idling ${name} is ${value}, at first ${before.get(name) ?? 0}`);
}
