/**
 * One peer or stranger floods the portal; the others go on (PT-72). How long they wait is measured by
 * `bench/portal`, since a test shares its processors with others; here the flood's work is counted.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { eventually } from "../lib/observe.ts";
import { posternCommand } from "../lib/program.ts";
import { connectPeer, loginUrl, type RawPeer } from "../unit/program/portal-peer.ts";

const FLOWS = 60;
/** One for each flow: what is asked again behind its answer has crossed it (PT-86). JSON is YAML, too. */
const NAMES = Array.from({ length: FLOWS }, (_, n) => `Office ${n}`);
const OFFICE = JSON.stringify({
  version: 1,
  resources: NAMES.map((name, n) => ({ name, type: "cidr", address: `172.20.${n}.0/24`, site: "default" })),
  policies: NAMES.map((resource) => ({ group: "dev", resource })),
});
/** Of the peers that are not the flood. */
const OWN_JOINS = 3;

const children: ChildProcess[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

type Counters = Readonly<Record<string, number>>;

interface RunningPortal {
  readonly url: string;
  readonly client: string;
  readonly gateway: string;
  /** What it has counted until now. */
  counters(): Promise<Counters>;
}

async function startPortal(): Promise<RunningPortal> {
  const folder = mkdtempSync(join(tmpdir(), "postern-flood-"));
  folders.push(folder);
  const config = join(folder, "portal.yaml");
  writeFileSync(config, OFFICE);
  const options = ["--dev", "--listen", "127.0.0.1:0", "--config", config];
  const { command, args } = posternCommand(["portal", ...options]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  const statuses: ((line: string) => void)[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (/ portal: status /.test(line)) statuses.shift()?.(line);
  });
  const values = new Map<string, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "ready") break;
    const [name = "", value = ""] = line.split("=");
    values.set(name, value);
  }
  const value = (name: string): string => values.get(name) ?? "";
  return {
    url: value("POSTERN_API_URL"),
    client: value("CLIENT_TOKEN"),
    gateway: value("GATEWAY_TOKEN"),
    async counters() {
      const line = new Promise<string>((resolve) => statuses.push(resolve));
      child.kill("SIGUSR2");
      return Object.fromEntries([...(await line).matchAll(/(\w+)=(\d+)/g)].map((m) => [m[1], Number(m[2])]));
    },
  };
}

/** Asks for flows one after the other, and gets them. */
async function openFlows(client: RawPeer, gateway: RawPeer, rids: readonly string[]): Promise<void> {
  for (const rid of rids) {
    client.send("create_flow", { resource_id: rid, connected_gateway_ids: [] });
    const { ref } = (await gateway.next("authorize_flow")).payload;
    gateway.send("flow_authorized", { ref });
    await client.next("flow_created");
  }
}

function startFlood(way: string, portal: RunningPortal): void {
  const { port, pathname, search } = new URL(
    loginUrl(portal.url, { role: "client", token: portal.client, id: "flooder" }),
  );
  const args = ["test/lib/portal-flood.mjs", way, port, `${pathname}${search}`, portal.client];
  children.push(spawn(process.execPath, args, { stdio: ["pipe", "ignore", "inherit"] }));
}

/** Waits until the flood is at work. */
function untilFlooded(portal: RunningPortal, counter: string, count: number): Promise<void> {
  return eventually(async () => expect((await portal.counters())[counter]).toBeGreaterThan(count), 30_000);
}

/** What PT-72 gives: how much at once, and how much a second. It is a flood from `sure` on. */
const FLOODS = [
  { way: "requests", counter: "requests", sure: 100, burst: 1_000, perSecond: 100, own: OWN_JOINS },
  { way: "heartbeats", counter: "frames", sure: 200, burst: 200, perSecond: 100, own: 2 * FLOWS + 4 },
  // Each of 5 sockets at once, and of one a second, may join 6 times and once a second.
  { way: "joins", counter: "joins", sure: 8, burst: 30, perSecond: 7, own: OWN_JOINS },
];

describe("a flood of", () => {
  it.each(FLOODS)(
    "PT-72: $way is worked on at its rate only; others' flows go on, and new peers come in",
    async ({ way, counter, sure, burst, perSecond, own }) => {
      const portal = await startPortal();
      const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.gateway });
      const client = await connectPeer(portal.url, { role: "client", token: portal.client });
      const { resources } = (await client.next("init")).payload;
      const rids = resources.map(({ id }: { readonly id: string }) => id);
      expect(rids).toHaveLength(FLOWS);
      const startedAt = performance.now();
      startFlood(way, portal);
      await untilFlooded(portal, counter, sure);
      // The flood has used up the share of its address.
      const from = { localAddress: "127.0.0.2" };
      const login = { role: "client", token: portal.client, id: "new", from } as const;
      await (await connectPeer(portal.url, login)).next("init");
      await openFlows(client, gateway, rids);
      const { [counter]: count = 0 } = await portal.counters();
      const seconds = (performance.now() - startedAt) / 1000;
      expect(count, `in ${seconds} s`).toBeLessThanOrEqual(burst + perSecond * seconds + own);
    },
    60_000,
  );
});
