/** What a test sees of running programs and of the network between them. */
import { readdirSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import { REASONS } from "../../bindings/memory/index.ts";
import { type Child, type Namespace, patient } from "../../src/program/lab/index.ts";

/** Of one core, a client and a gateway together (G-13). */
export const IDLE_PERCENT_MAX = 1;
/** Of each process, in a second. A loop that polls would take more; a busy machine takes none away. */
export const IDLE_WAKE_UPS_MAX = 2.5;
/** Of each process (G-14). */
export const RESIDENT_MIB_MAX = 250;
const LOOK_EVERY_MS = 50;

/** Waits until `look` does not throw any more: for so long on a quiet machine, and longer on a busy one (TS-3). */
export async function eventually<T>(
  look: () => T | Promise<T>,
  withinMs = 10_000,
  everyMs = LOOK_EVERY_MS,
): Promise<T> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() - startedAt >= patient(withinMs)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

const TRIES = 3;

/**
 * What `send` sends is counted, each once. The machine itself may send what counts under the same name, such as a router
 * solicitation: then it is tried again, but what is counted twice is so each time.
 */
export async function expectCounted(
  wanted: number,
  count: () => Promise<number>,
  send: () => Promise<unknown>,
): Promise<void> {
  let grown = 0;
  for (let tries = 0; tries < TRIES && grown !== wanted; tries++) {
    const before = await count();
    await send();
    await eventually(async () => {
      grown = (await count()) - before;
      expect(grown).toBeGreaterThanOrEqual(wanted);
    });
  }
  expect(grown).toBe(wanted);
}

/** Fields of the status snapshot (PG-16), by line: `status`, `egress`, `ingress`, `control`. */
export type Snapshot = Readonly<Record<string, Readonly<Record<string, string>>>>;

const SNAPSHOT_LINE = / INFO postern: status(?:: (\w+))? ?(.*)$/;

/** Asks a program for its status by SIGUSR2. */
export async function statusOf(program: Child): Promise<Snapshot> {
  const count = (): number => program.stderr().split(" postern: status: control").length;
  const before = count();
  program.signal("SIGUSR2");
  await eventually(() => {
    if (count() === before) throw new Error(`${program.name} wrote no status`);
  });
  const lines = program
    .stderr()
    .split("\n")
    .flatMap((line) => SNAPSHOT_LINE.exec(line) ?? []);
  const snapshot: Record<string, Record<string, string>> = {};
  for (let i = 0; i + 2 < lines.length; i += 3) snapshot[lines[i + 1] ?? "status"] = fieldsOf(lines[i + 2]);
  return snapshot;
}

function fieldsOf(text = ""): Record<string, string> {
  const fields = [...text.matchAll(/(\w+)=("[^"]*"|\S+)/g)];
  return Object.fromEntries(fields.map((field) => [field[1] ?? "", field[2] ?? ""]));
}

/** A counter of a snapshot; what has not been counted is 0. */
export function counterIn(snapshot: Snapshot, line: string, name: string): number {
  return Number(snapshot[line]?.[name] ?? 0);
}

/** What came in was passed, punted or dropped under a reason (D-8). */
export function expectAccounted(snapshot: Snapshot, worker: string): void {
  const count = (name: string) => counterIn(snapshot, worker, name);
  const dropped = Object.entries(REASONS)
    .filter(([, { stage }]) => stage === "path")
    // The log writes names with underscores only.
    .reduce((sum, [name]) => sum + count(`drop_${name.replaceAll("-", "_")}`), 0);
  expect(count("packets_passed") + count("packets_punted") + dropped).toBe(count("packets_in"));
}

/** Times of the log lines that match, in UNIX ms. */
export function timesOf(program: Child, pattern: RegExp): number[] {
  const lines = program
    .stderr()
    .split("\n")
    .filter((line) => pattern.test(line));
  return lines.map((line) => Date.parse(line.split(" ")[0] ?? ""));
}

/** Time of the newest log line that matches. */
export function timeOf(program: Child, pattern: RegExp): number {
  const time = timesOf(program, pattern).at(-1);
  if (time === undefined) throw new Error(`${program.name} has not logged ${pattern}`);
  return time;
}

export function warningsOf(program: Child): readonly string[] {
  return program
    .stderr()
    .split("\n")
    .filter((line) => /^\S+Z +(WARN|ERROR) /.test(line));
}

export type Echo = "answered" | "prohibited" | "unreachable" | "silence";

/** For `echo` where silence is expected: no need to wait as long as for an answer on a busy machine. */
export const BRIEFLY = ["-W", "2"] as const;

/** What becomes of one echo request. */
export async function echo(from: Namespace, to: string, ...options: readonly string[]): Promise<Echo> {
  const child = from.start({
    name: "ping",
    command: "ping",
    args: ["-n", "-c", "1", "-W", "5", ...options, to],
  });
  await child.wait(10_000);
  const said = child.stdout();
  if (/ 1 received/.test(said)) return "answered";
  if (/Packet filtered|Administratively prohibited/.test(said)) return "prohibited";
  return /Unreachable|No route/i.test(said) ? "unreachable" : "silence";
}

/** Echo requests that have arrived at a machine, both families. */
export async function echoesSeen(at: Namespace): Promise<number> {
  const v4 = await at.run("cat", ["/proc/net/snmp"]);
  const [names = "", values = ""] = v4.split("\n").filter((line) => line.startsWith("Icmp:"));
  const inEchos = Number(values.split(" ")[names.split(" ").indexOf("InEchos")]);
  const v6 = /^Icmp6InEchos\s+(\d+)/m.exec(await at.run("cat", ["/proc/net/snmp6"]))?.[1];
  return inEchos + Number(v6 ?? 0);
}

/** Number and UNIX ms of the newest line `… N at MS` of `traffic.mjs`. */
export function newest(traffic: Child): { readonly count: number; readonly at: number } {
  const match = [...traffic.stdout().matchAll(/ (\d+) at (\d+)$/gm)].at(-1);
  return { count: Number(match?.[1] ?? 0), at: Number(match?.[2] ?? 0) };
}

/** Tunnel addresses of a program, as the kernel has them on its device. */
export async function tunnelAddresses(at: Namespace, device = "tun-postern"): Promise<readonly string[]> {
  const links = JSON.parse(await at.run("ip", ["-j", "addr", "show", "dev", device])) as {
    addr_info: { local: string }[];
  }[];
  return links.flatMap((link) => link.addr_info.map(({ local }) => local));
}

/** Processor time that a process and all its threads have used, in ms (proc(5): ticks of 10 ms). */
export function processorMs(program: Child): number {
  const fields = readFileSync(`/proc/${program.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export function residentMib(program: Child): number {
  const status = readFileSync(`/proc/${program.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** How often threads of a process have gone to sleep so far: each time somebody or something woke them. */
export function wakeUps(program: Child): number {
  const threads = readdirSync(`/proc/${program.pid}/task`);
  return threads.reduce((sum, thread) => {
    const status = readFileSync(`/proc/${program.pid}/task/${thread}/status`, "utf8");
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  }, 0);
}

/**
 * How often per second each program wakes up: the median of windows of 5 s. What wakes it regularly shows in every
 * window; a collection of garbage or a message of a peer only in one.
 */
export async function medianWakeUps(programs: readonly Child[], windows: number): Promise<readonly number[]> {
  const perWindow: number[][] = programs.map(() => []);
  let before = programs.map(wakeUps);
  for (let n = 0; n < windows; n++) {
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const after = programs.map(wakeUps);
    for (const [i, count] of after.entries()) perWindow[i]?.push((count - (before[i] ?? 0)) / 5);
    before = after;
  }
  return perWindow.map((rates) => rates.sort((a, b) => a - b)[rates.length >> 1] ?? 0);
}

/** What part of one core the programs use together, in percent, while nobody asks anything of them. */
export async function usageWhileQuiet(programs: readonly Child[], windowMs: number): Promise<number> {
  const used = (): number => programs.reduce((sum, program) => sum + processorMs(program), 0);
  const [before, startedAt] = [used(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, windowMs));
  return ((used() - before) / (performance.now() - startedAt)) * 100;
}

/** Waits until the program's connection has gone idle (SN-41: 20 s after the last packet). */
export async function untilIdle(program: Child): Promise<void> {
  const look = async (): Promise<void> => {
    const state = (await statusOf(program))["connection"]?.["state"];
    if (state !== "idle") throw new Error(`${program.name} is ${state}`);
  };
  await eventually(look, 60_000, 2_000);
}
