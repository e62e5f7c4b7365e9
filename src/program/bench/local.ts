/** Postern beside others in namespaces of this host: alternating runs, in drawn order (TS-50, PG-200). */
import { spawnSync } from "node:child_process";
import { PosternError } from "../../base/index.ts";
import { findHelper } from "../../host/index.ts";
import { type Child, createLab, type Lab } from "../lab/index.ts";
import {
  OPENVPN_ARMS,
  type OpenArm,
  type OpenTunnel,
  type OpenVpnCipher,
  openCable,
  openPostern,
  openVpn,
  wireguardGo,
} from "./arms.ts";
import { type Direction, type Measured, openServer, roundTrips, start, tcp, udp } from "./loads.ts";
import { UDP_BYTES } from "./loss-free.ts";
import type { Better, Cell, Sample } from "./result.ts";

export interface LocalPlan {
  readonly mtu: number;
  readonly pairs: number;
  readonly seconds: number;
  readonly streams: readonly number[];
  /** An arm for each. */
  readonly openVpnCiphers: readonly OpenVpnCipher[];
  /** Makes the order of arms; 0 to 1. */
  readonly draw: () => number;
  readonly say: (line: string) => void;
}

export interface LocalOutcome {
  readonly arms: readonly OpenArm[];
  readonly cells: readonly Cell[];
  readonly missing: readonly string[];
  readonly othersShare: number | undefined;
}

/** One thing to do with an arm, and the cells that come of it. */
interface Task {
  readonly title: string;
  readonly cells: readonly Omit<Cell, "samples">[];
  /** By the key of each cell, in their order. */
  readonly keys: readonly string[];
  readonly run: (arm: OpenArm, server: Child) => Promise<Measured>;
}

export async function measureHere(plan: LocalPlan, signal: AbortSignal): Promise<LocalOutcome> {
  for (const [program, from] of NEEDED) {
    if (findHelper(program) === undefined)
      throw new PosternError(
        "bench-program",
        `bench needs the program '${program}'`,
        `install the package ${from}`,
      );
  }
  const { tunnels, missing } = findTunnels(plan);
  const lab = createLab();
  const onAbort = (): void => void lab.close();
  signal.addEventListener("abort", onAbort);
  try {
    const run: Run = { servers: new Map(), plan, others: [], missing, signal };
    await openArms(lab, tunnels, run);
    const arms = [...run.servers.keys()];
    const cells: Cell[] = [];
    for (const task of tasksOf(plan)) {
      signal.throwIfAborted();
      cells.push(...(await runTask(task, run)));
    }
    const { others } = run;
    const othersShare = others.length === 0 ? undefined : others.reduce((a, b) => a + b) / others.length;
    return { arms, cells: cells.filter(({ samples }) => samples.length > 0), missing, othersShare };
  } finally {
    signal.removeEventListener("abort", onAbort);
    await lab.close();
  }
}

/** What a run has and finds out. */
interface Run {
  /** Of the arms that are up, in order, what their loads talk to; one that fails leaves. */
  readonly servers: Map<OpenArm, Child>;
  readonly plan: LocalPlan;
  readonly others: number[];
  readonly missing: string[];
  readonly signal: AbortSignal;
}

const NEEDED = [
  ["iperf3", "iperf3"],
  ["ping", "iputils-ping"],
  ["ip", "iproute2"],
] as const;

/** Since then it has offloads, and is several times as fast; Debian 12's has none. */
const OFFLOADS_SINCE = 20230223;

interface Tunnel {
  readonly title: string;
  readonly open: OpenTunnel;
  /** Without it there is nothing to compare with. */
  readonly isNeeded?: true;
}

function findTunnels({ openVpnCiphers }: LocalPlan): {
  readonly tunnels: readonly Tunnel[];
  readonly missing: string[];
} {
  const tunnels: Tunnel[] = [{ title: "postern", open: openPostern, isNeeded: true }];
  const missing: string[] = [];
  const go = findHelper("wireguard-go");
  if (go !== undefined && findHelper("wg") !== undefined)
    tunnels.push({ title: "wireguard-go", open: wireguardGo(go, noteOf(go)) });
  else missing.push("wireguard-go is not compared: install the packages wireguard-go and wireguard-tools.");
  const vpn = findHelper("openvpn");
  if (vpn !== undefined && findHelper("openssl") !== undefined) {
    const version = /^OpenVPN (\S+)/.exec(versionOf(vpn))?.[1];
    for (const cipher of openVpnCiphers)
      tunnels.push({ title: OPENVPN_ARMS[cipher].title, open: openVpn(vpn, version, cipher) });
  } else missing.push("OpenVPN is not compared: install the packages openvpn and openssl.");
  tunnels.push({ title: "no tunnel", open: openCable, isNeeded: true });
  return { tunnels, missing };
}

function versionOf(program: string): string {
  const { stdout, stderr } = spawnSync(program, ["--version"], { timeout: 60_000, encoding: "utf8" });
  return `${stdout}${stderr}`;
}

function noteOf(program: string): string {
  const version = /v?(\d+\.\d+\.(\d{8}))/.exec(versionOf(program));
  if (version === null) return "an unknown version: whether it has offloads is not known";
  const has =
    Number(version[2]) >= OFFLOADS_SINCE
      ? "with offloads"
      : "without offloads, which makes it several times slower than newer ones";
  return `${version[1]}, ${has}`;
}

/** One of the others that does not come up is told of, and left out. */
async function openArms(lab: Lab, tunnels: readonly Tunnel[], run: Run): Promise<void> {
  const { servers, plan, missing, signal } = run;
  for (const { title, open, isNeeded } of tunnels) {
    try {
      const arm = await open(lab, { mtu: plan.mtu });
      servers.set(arm, await openServer(arm));
      plan.say(`${title} is up`);
    } catch (error) {
      signal.throwIfAborted();
      if (isNeeded === true) throw error;
      missing.push(`${title} is not compared, since it does not come up: ${onOneLine(error)}`);
      plan.say(missing.at(-1) ?? "");
    }
  }
}

/** What went wrong, with what a program said of it. */
function onOneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .trim()
    .replaceAll(/\s*\n\s*/g, "; ")
    .slice(0, LINE_MAX);
}

const LINE_MAX = 300;

function tasksOf({ streams, seconds }: LocalPlan): readonly Task[] {
  const directions: readonly Direction[] = ["up", "down"];
  return [
    ...streams.flatMap((count) => directions.map((direction) => tcpTask(count, direction, seconds))),
    {
      title: "UDP",
      cells: [cell(`udp-${UDP_BYTES}`, `UDP, ${UDP_BYTES} bytes, without loss`, "Mbit/s", "higher")],
      keys: ["rate"],
      run: (arm) => udp(arm),
    },
    {
      title: "round trips",
      cells: [
        cell("ping-idle", "round trip, idle", "ms", "lower"),
        cell("ping-loaded", "round trip beside a TCP stream", "ms", "lower"),
      ],
      keys: ["idle", "loaded"],
      run: (arm) => roundTrips(arm),
    },
    {
      title: "start",
      cells: [cell("start", "start to first answer", "ms", "lower")],
      keys: ["answer"],
      run: (arm) => start(arm),
    },
  ];
}

function tcpTask(streams: number, direction: Direction, seconds: number): Task {
  const what = `TCP ${direction}, ${streams} stream${streams === 1 ? "" : "s"}`;
  return {
    title: what,
    cells: [
      cell(`tcp-${direction}-${streams}`, what, "Gbit/s", "higher"),
      cell(`cpu-${direction}-${streams}`, `CPU time, ${what}`, "s/GB", "lower"),
    ],
    keys: ["rate", "cpu"],
    run: (arm, server) => tcp(arm, server, { streams, direction, seconds }),
  };
}

function cell(name: string, title: string, unit: string, better: Better): Omit<Cell, "samples"> {
  return { name, title, unit, better };
}

async function runTask(task: Task, run: Run): Promise<readonly Cell[]> {
  const { servers, plan, signal } = run;
  const samples = task.keys.map((): Sample[] => []);
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`${task.title}: run ${pair + 1} of ${plan.pairs}`);
    for (const [arm, server] of shuffled([...servers], plan.draw)) {
      signal.throwIfAborted();
      const values = await measured(task, arm, server, run);
      for (const [i, key] of task.keys.entries()) {
        const value = values[key];
        if (value !== undefined) samples[i]?.push({ arm: arm.name, pair, value });
      }
    }
  }
  return task.cells.map((one, i) => ({ ...one, samples: samples[i] ?? [] }));
}

/** Another's failure is not the end of all: it is told of, and that tunnel left out from here on. */
async function measured(task: Task, arm: OpenArm, server: Child, run: Run): Promise<Measured["values"]> {
  const { servers, others, missing, plan, signal } = run;
  try {
    const { values, othersShare } = await task.run(arm, server);
    if (othersShare !== undefined) others.push(othersShare);
    return values;
  } catch (error) {
    signal.throwIfAborted();
    if (arm === servers.keys().next().value) throw error;
    servers.delete(arm);
    missing.push(`${arm.title} is left out from '${task.title}' on: ${onOneLine(error)}`);
    plan.say(missing.at(-1) ?? "");
    return {};
  }
}

function shuffled<T>(values: readonly T[], draw: () => number): readonly T[] {
  const left = [...values];
  const order: T[] = [];
  while (left.length > 0) order.push(...left.splice(Math.floor(draw() * left.length), 1));
  return order;
}
