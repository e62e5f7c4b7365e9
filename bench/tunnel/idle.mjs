/** What a connected client and gateway cost while nothing is sent (G-13, G-14). */
import { createLab } from "../../build/src/program/lab/index.js";
import { cpuSeconds, peakMemoryMb } from "../lib/processor.mjs";
import { cellOf } from "../lib/result.mjs";
import { openClientGateway } from "./arms.mjs";

const SECONDS = 30;

/** Voluntary switches of all threads: how often somebody woke up and waited again. */
async function wakeUps(arm, pid) {
  const script = "cat /proc/$0/task/*/status | awk '/^voluntary_ctxt/ { n += $2 } END { print n }'";
  return Number(await arm.near.run("sh", ["-c", script, String(pid)]));
}

export async function measureIdle({ runtime, times }) {
  const samples = [];
  const lab = createLab();
  try {
    const arm = await openClientGateway(lab, { runtime });
    await arm.near.run("ping", ["-n", "-q", "-c", "3", "-i", "0.2", "-W", "5", arm.address], {
      withinMs: 20_000,
    });
    for (let pair = 0; pair < times; pair++) {
      const before = arm.processes.map(({ pid }) => cpuSeconds(pid));
      const wokenBefore = await Promise.all(arm.processes.map(({ pid }) => wakeUps(arm, pid)));
      await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
      const used = arm.processes.map(({ pid }, i) => cpuSeconds(pid) - before[i]);
      const woken = await Promise.all(arm.processes.map(({ pid }) => wakeUps(arm, pid)));
      samples.push({
        arm: "client-gateway",
        pair,
        value: ((used[0] + used[1]) / SECONDS) * 100,
        wake_ups_per_s: woken.map((count, i) => (count - wokenBefore[i]) / SECONDS),
        memory_mb: arm.processes.map(({ pid }) => Math.round(peakMemoryMb(pid))),
        valid: true,
      });
    }
  } finally {
    await lab.close();
  }
  const params = { seconds: SECONDS };
  return cellOf({ name: "idle", params, unit: "% of a core", samples, arms: ["client-gateway"] });
}
