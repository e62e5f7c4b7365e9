/**
 * Limits on waiting are meant for a machine that does nothing else (TS-3). On a busy one everything takes longer, by
 * about what the load exceeds the cores: so much longer is waited, and only there.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** How much longer than on a quiet machine things take, at least 1. `loadavg` as in proc(5). */
export function slownessOf(loadavg: string, cores: number): number {
  const [lately, , , running] = loadavg.split(" ");
  // The average is late to notice what has just begun.
  const load = Math.max(Number.parseFloat(lately ?? ""), Number.parseInt(running ?? "", 10));
  return Math.max(1, Number.isFinite(load) ? load / cores : 1);
}

/** A limit of a quiet machine, as it is on this one now; whole, since time-outs of programs have to be. */
export function patient(ms: number, slowness = slownessNow()): number {
  return Math.ceil(ms * slowness);
}

function slownessNow(): number {
  return slownessOf(readFileSync("/proc/loadavg", "latin1"), availableParallelism());
}

/** What `promise` gives, or `undefined` when it has given nothing after `ms` of patience. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const alarm = createAlarm(ms);
  const first = await Promise.race([promise, alarm.rings]);
  alarm.cancel();
  return first;
}

/** Rings after `ms` of patience; how busy the machine is, is looked at when they are over. */
function createAlarm(ms: number): { readonly rings: Promise<undefined>; cancel(): void } {
  const startedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const rings = new Promise<undefined>((resolve) => {
    const look = (): void => {
      const leftMs = patient(ms) - (performance.now() - startedAt);
      if (leftMs <= 0) resolve(undefined);
      else timer = setTimeout(look, leftMs);
    };
    timer = setTimeout(look, ms);
  });
  return { rings, cancel: () => clearTimeout(timer) };
}
