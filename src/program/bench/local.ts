/** Postern beside others in namespaces of this host: alternating runs, in drawn order (TS-50, PG-200). */
import { spawnSync } from "node:child_process";
import { PosternError } from "../../base/index.ts";
import { findHelper } from "../../host/index.ts";
import { type Child, createLab, type Lab } from "../lab/index.ts";
import { type OpenArm, type OpenTunnel, openCable, openPostern, openVpn, wireguardGo } from "./arms.ts";
import { type Direction, type Measured, openServer, roundTrips, start, tcp, udp } from "./loads.ts";
import { UDP_BYTES } from "./loss-free.ts";
import type { Better, Cell, Sample } from "./result.ts";

export interface LocalPlan {
  readonly mtu: number;
  readonly pairs: number;
  readonly seconds: number;
  readonly streams: readonly number[];
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
  const { tunnels, missing } = findTunnels();
  const lab = createLab();
  const onAbort = (): void => void lab.close();
  signal.addEventListener("abort", onAbort);
  try {
    const arms = await openArms(lab, tunnels, plan);
    const servers = new Map<OpenArm, Child>();
    for (const arm of arms) servers.set(arm, await openServer(arm));
    const others: number[] = [];
    const cells: Cell[] = [];
    for (const task of tasksOf(plan)) {
      signal.throwIfAborted();
      cells.push(...(await runTask(task, { arms, servers, plan, others, signal })));
    }
    const othersShare = others.length === 0 ? undefined : others.reduce((a, b) => a + b) / others.length;
    return { arms, cells: cells.filter(({ samples }) => samples.length > 0), missing, othersShare };
  } finally {
    signal.removeEventListener("abort", onAbort);
    await lab.close();
  }
}

const NEEDED = [
  ["iperf3", "iperf3"],
  ["ping", "iputils-ping"],
  ["ip", "iproute2"],
] as const;

/** Since then it has offloads, and is several times as fast; Debian 12's has none. */
const OFFLOADS_SINCE = 20230223;

function findTunnels(): { readonly tunnels: readonly OpenTunnel[]; readonly missing: readonly string[] } {
  const tunnels: OpenTunnel[] = [openPostern];
  const missing: string[] = [];
  const go = findHelper("wireguard-go");
  if (go !== undefined && findHelper("wg") !== undefined) tunnels.push(wireguardGo(go, noteOf(go)));
  else missing.push("wireguard-go is not compared: install the packages wireguard-go and wireguard-tools.");
  const vpn = findHelper("openvpn");
  if (vpn !== undefined && findHelper("openssl") !== undefined) tunnels.push(openVpn(vpn));
  else missing.push("OpenVPN is not compared: install the packages openvpn and openssl.");
  tunnels.push(openCable);
  return { tunnels, missing };
}

function noteOf(program: string): string {
  const { stdout, stderr } = spawnSync(program, ["--version"], { timeout: 60_000, encoding: "utf8" });
  const version = /v?(\d+\.\d+\.(\d{8}))/.exec(`${stdout}${stderr}`);
  if (version === null) return "an unknown version: whether it has offloads is not known";
  const has =
    Number(version[2]) >= OFFLOADS_SINCE
      ? "with offloads"
      : "without offloads, which makes it several times slower than newer ones";
  return `${version[1]}, ${has}`;
}

async function openArms(
  lab: Lab,
  tunnels: readonly OpenTunnel[],
  { mtu, say }: LocalPlan,
): Promise<OpenArm[]> {
  const arms: OpenArm[] = [];
  for (const open of tunnels) {
    const arm = await open(lab, { mtu });
    say(`${arm.title} is up`);
    arms.push(arm);
  }
  return arms;
}

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

interface Run {
  readonly arms: readonly OpenArm[];
  readonly servers: ReadonlyMap<OpenArm, Child>;
  readonly plan: LocalPlan;
  readonly others: number[];
  readonly signal: AbortSignal;
}

async function runTask(task: Task, { arms, servers, plan, others, signal }: Run): Promise<readonly Cell[]> {
  const samples = task.keys.map((): Sample[] => []);
  for (let pair = 0; pair < plan.pairs; pair++) {
    plan.say(`${task.title}: run ${pair + 1} of ${plan.pairs}`);
    for (const arm of shuffled(arms, plan.draw)) {
      signal.throwIfAborted();
      const server = servers.get(arm);
      if (server === undefined) continue;
      const { values, othersShare } = await task.run(arm, server);
      if (othersShare !== undefined) others.push(othersShare);
      for (const [i, key] of task.keys.entries()) {
        const value = values[key];
        if (value !== undefined) samples[i]?.push({ arm: arm.name, pair, value });
      }
    }
  }
  return task.cells.map((one, i) => ({ ...one, samples: samples[i] ?? [] }));
}

function shuffled<T>(values: readonly T[], draw: () => number): readonly T[] {
  const left = [...values];
  const order: T[] = [];
  while (left.length > 0) order.push(...left.splice(Math.floor(draw() * left.length), 1));
  return order;
}
