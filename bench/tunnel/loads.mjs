/** What is sent through an arm, and what is measured meanwhile. */
import { cpuSeconds, machineSeconds, peakMemoryMb } from "../lib/processor.mjs";
import { percentile } from "../lib/statistics.mjs";

const OTHERS_MAX = 0.05;
const STEAL_MAX = 0.02;

/** Starts what the loads talk to in the far namespace. */
export async function openServers(arm) {
  arm.server = arm.far.start({
    name: "iperf3 server",
    command: "iperf3",
    args: ["-s", "--forceflush", "-B", arm.address],
  });
  await arm.server.waitForLine(/Server listening/, { withinMs: 10_000 });
  await arm.near.run("ping", ["-n", "-q", "-c", "2", "-i", "0.2", "-W", "3", arm.address], {
    withinMs: 20_000,
  });
}

/** Runs iperf3 with what TS-51 asks for around it. */
async function measured(arm, seconds, args, readValue) {
  const before = { machine: machineSeconds(), cpu: arm.processes.map(({ pid }) => cpuSeconds(pid)) };
  const own = () => [arm.server.pid, ...(arm.support ?? [])].reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const ownBefore = own();
  const counters = await countersOf(arm);
  const started = performance.now();
  const all = ["-c", arm.address, "-t", String(seconds), "-J", "--connect-timeout", "5000", ...args];
  const text = await arm.near.run("iperf3", all, { withinMs: (seconds + 30) * 1000 });
  const elapsed = (performance.now() - started) / 1000;
  const { end, error, intervals } = JSON.parse(text);
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  const cpu = arm.processes.map(({ pid }, i) => cpuSeconds(pid) - before.cpu[i]);
  const machine = machineSeconds();
  const sum = end.sum_received ?? end.sum;
  const bytes = sum.bytes;
  const used = cpu.reduce((a, b) => a + b, 0);
  const clientCpu = (end.cpu_utilization_percent.host_total / 100) * seconds;
  const ours = used + clientCpu + (own() - ownBefore);
  const others = (machine.processes - before.machine.processes - ours) / elapsed;
  const steal = (machine.steal - before.machine.steal) / elapsed;
  const reasons = [];
  if (others > OTHERS_MAX) reasons.push(`others used ${(others * 100).toFixed(0)} % of a core`);
  if (steal > STEAL_MAX) reasons.push(`steal ${(steal * 100).toFixed(1)} %`);
  return {
    ...readValue(end),
    slowest_second: slowestOf(intervals),
    ...(used > 0 ? { cpu_s_per_gb: used / (bytes / 1e9) } : {}),
    retransmits: end.sum_sent?.retransmits,
    memory_mb: arm.processes.map(({ pid }) => Math.round(peakMemoryMb(pid))),
    ...batchesOf(counters, await countersOf(arm)),
    valid: reasons.length === 0,
    ...(reasons.length === 0 ? {} : { reason: reasons.join("; ") }),
  };
}

/** Gbit/s of the slowest whole second: a stall shows here (PF-71). */
function slowestOf(intervals) {
  const whole = intervals.map(({ sum }) => sum).filter(({ seconds }) => seconds > 0.9);
  return whole.length === 0 ? undefined : Math.min(...whole.map((sum) => sum.bits_per_second)) / 1e9;
}

/** One TCP stream, Gbit/s received. */
export async function tcp(arm, { direction, seconds, streams = 1, backwards = direction === "down" }) {
  const args = [...(backwards ? ["-R"] : []), ...(streams > 1 ? ["-P", String(streams)] : [])];
  return await measured(arm, seconds, args, (end) => ({ value: end.sum_received.bits_per_second / 1e9 }));
}

/** Datagrams of one size at an offered rate, packets per second that arrived (G-8). */
export async function udp(arm, { bytes, offered, seconds }) {
  const args = ["-u", "-l", String(bytes), "-b", offered];
  return await measured(arm, seconds, args, ({ sum }) => ({
    value: (sum.packets - sum.lost_packets) / sum.seconds,
    lost_percent: sum.lost_percent,
    jitter_ms: sum.jitter_ms,
  }));
}

/** Round trips in ms, alone or while a TCP stream saturates the tunnel (G-11). */
export async function ping(arm, { isLoaded, count = 300 }) {
  const args = ["-n", "-c", String(count), "-i", "0.01", "-W", "2", arm.address];
  const load = isLoaded
    ? arm.near.start({ name: "load", command: "iperf3", args: ["-c", arm.address, "-t", "60"] })
    : undefined;
  if (load !== undefined) await arm.near.run("sleep", ["1"]);
  const text = await arm.near.run("ping", args, { withinMs: 60_000 });
  if (load !== undefined) await load.stop();
  const times = [...text.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
  const answered = times.length / count;
  return {
    value: percentile(times, isLoaded ? 0.99 : 0.5),
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    worst: Math.max(...times),
    valid: answered > 0.99,
    ...(answered > 0.99 ? {} : { reason: `${((1 - answered) * 100).toFixed(1)} % unanswered` }),
  };
}

/** The counters that `postern wg` prints on SIGUSR2, of each end; `undefined` for other arms. */
async function countersOf(arm) {
  if (arm.isPostern !== true) return undefined;
  return await Promise.all(
    arm.processes.map(async (child) => {
      const known = child.stdout().split("\n").length;
      child.signal("SIGUSR2");
      for (let i = 0; i < 100 && child.stdout().split("\n").length === known; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const line = child.stdout().trimEnd().split("\n").at(-1) ?? "";
      return line.startsWith("{") ? flatten(JSON.parse(line)) : undefined;
    }),
  );
}

/** `{ a: { b: 1 } }` as `{ "a.b": 1 }`, numbers only. */
function flatten(value, prefix = "", into = {}) {
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "object" && inner !== null) flatten(inner, `${prefix}${key}.`, into);
    else if (Number.isFinite(Number(inner)) && inner !== "") into[`${prefix}${key}`] = Number(inner);
  }
  return into;
}

/**
 * Batches and drops of the run, from what grew at each end (G-6, TS-51): datagrams per send at the end
 * that sends most, bytes per TUN write at the other.
 */
function batchesOf(before, after) {
  if (before === undefined || after === undefined || before.includes(undefined)) return {};
  const grown = after.map((counters, i) => (key) => (counters[key] ?? 0) - (before[i][key] ?? 0));
  const egress = (key) => `counters.egress.counters.${key}`;
  const ingress = (key) => `counters.ingress.counters.${key}`;
  const [sender, receiver] = [...grown].sort((a, b) => b(egress("segments_out")) - a(egress("segments_out")));
  const drops = {};
  for (const [i, counters] of after.entries()) {
    for (const key of Object.keys(counters).filter((name) => name.includes(".drops."))) {
      const count = grown[i](key);
      if (count > 0) drops[`${i === 0 ? "near" : "far"}.${key.replace("counters.", "")}`] = count;
    }
  }
  return {
    datagrams_per_send: sender(egress("segments_out")) / sender(egress("writes")),
    bytes_per_tun_write: receiver(ingress("bytes_out")) / receiver(ingress("writes")),
    bytes_per_tun_read: sender(egress("bytes_in")) / sender(egress("reads")),
    drops,
  };
}
