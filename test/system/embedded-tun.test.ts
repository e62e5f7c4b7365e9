/** The library with TUN devices, in namespaces and in all three runtimes (PG-120): `test/lib/tun-probe.mjs`. */
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { captureHost, type HostSnapshot } from "../lib/leftovers.ts";
import { API_URL, createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith, missingRequirement, type Requirement } from "../lib/requirements.ts";
import { startWordsOf } from "../lib/runtimes.ts";

const PROBE = join(import.meta.dirname, "../lib/tun-probe.mjs");
const NAME = "wiki.corp.example";
const WITHIN_MS = 60_000;
const RUNTIMES: readonly {
  readonly name: "node" | "deno" | "bun";
  readonly needs: readonly Requirement[];
  /** How the client is ended. */
  readonly end: "close" | "signal";
}[] = [
  { name: "node", needs: [], end: "close" },
  { name: "deno", needs: ["deno"], end: "signal" },
  { name: "bun", needs: ["bun"], end: "close" },
];

let office: Office;
let gateway: Child | undefined;

function probe(
  where: Namespace,
  runtime: (typeof RUNTIMES)[number]["name"],
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Child {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return office.program(where, "env", ...variables, ...startWordsOf(runtime), PROBE, ...args);
}

function lastLine(child: Child): unknown {
  return JSON.parse(child.stdout().trim().split("\n").at(-1) ?? "");
}

/**
 * What is set on a host. The sandbox's own /etc is no part of it; what names had is kept for the next start, and so is
 * forwarding, with which a host has anycast addresses of its own (PG-15).
 */
async function capture(where: Namespace): Promise<HostSnapshot> {
  const snapshot = await captureHost(where);
  return {
    ...snapshot,
    routes: snapshot.routes.filter((route) => !route.startsWith("anycast ")),
    runFiles: snapshot.runFiles.filter((path) => !path.includes("/etc/") && !path.endsWith("-dns.json")),
  };
}

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "the library with devices", () => {
  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }, { resource: "Wiki" }]);
    await office.startPortal();
    office.traffic(office.resource, "serve", "80");
    const names = office.traffic(office.resource, "names", OFFICE_V4);
    await names.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
    office.useNameServer(office.gateway, OFFICE_V4);
    office.useNameServer(office.client, "192.0.2.53");
    // Their own /etc is there from the first program on.
    for (const where of [office.client, office.gateway]) await office.program(where, "true").wait(WITHIN_MS);
  }, 60_000);
  afterAll(async () => {
    await office?.close();
    expect(existsSync("/etc/resolv.conf.before-postern"), "nothing of it reaches the host").toBe(false);
  });

  afterEach(() => gateway?.stop({ signal: "SIGKILL" }));

  for (const { name, needs, end } of RUNTIMES) {
    const missing = missingRequirement(needs);
    it.skipIf(missing !== undefined)(
      `PG-120, PG-130: under ${name} the host reaches resources, and nothing stays behind`,
      { timeout: 3 * WITHIN_MS },
      async () => {
        const hosts = [office.client, office.gateway];
        const before = await Promise.all(hosts.map(capture));
        gateway = probe(office.gateway, name, { API_URL, TOKEN: office.tokens.gateway }, "gateway");
        await gateway.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
        const access = { API_URL, TOKEN: office.tokens.client, END: end };
        const client = probe(office.client, name, access, "client", OFFICE_V4, NAME);
        const ended = await client.wait(WITHIN_MS);
        expect(ended, client.stderr()).toEqual({ status: 0, signal: undefined });
        expect(lastLine(client)).toEqual({
          status: { mode: "tun", device: "tun-postern", method: "etc-resolv-conf", hasPort: true },
          resources: ["Office", "Wiki"],
          byAddress: "HTTP/1.1 200 OK",
          byName: `200 ${256 << 10}`,
          lookup: true,
          dial: ["HTTP/1.1 200 OK", 2000],
          fetch: 3000,
          datagram: [0x12, 0x34, true, true],
          otherFamily: "unreachable",
          ping: true,
          refused: "refused",
          outside: "not_a_resource",
          second: "host in-use",
          connections: ["connected"],
          after: {
            ...{ held: "closed", late: "closed", state: "closed", reason: "closed" },
            ...{ isGone: true, resolv: true, events: ["connection", "portal", "stopping"] },
            ...{ listeners: ["SIGIO"], exitCode: 0 },
          },
        });
        gateway.signal("SIGTERM");
        expect(await gateway.wait(WITHIN_MS), gateway.stderr()).toEqual({ status: 0, signal: undefined });
        expect(lastLine(gateway)).toEqual({
          ...{ mode: "tun", ready: true, device: "tun-postern", flows: true },
          ...{ state: "closed", reason: "closed", isGone: true },
        });
        expect(await Promise.all(hosts.map(capture))).toEqual(before);
      },
    );
  }

  it.skipIf(missingRequirement(["users"]) !== undefined)(
    "PG-11, PG-120: without privilege it is an error with a code that says what to do",
    async () => {
      chmodSync(join(office.client.runFolder, ".."), 0o755);
      const [node, ...words] = startWordsOf("node");
      const child = office.client.start({
        name: "probe as nobody",
        command: "setpriv",
        args: [
          ...["--reuid", "65534", "--regid", "65534", "--clear-groups", node],
          ...[...words, PROBE, "refused"],
        ],
      });
      await child.wait(WITHIN_MS);
      // Where others cannot read the clone, it is node that cannot start.
      if (/MODULE_NOT_FOUND|EACCES/.test(child.stderr())) return;
      expect(lastLine(child)).toEqual({
        client: "host privilege",
        gateway: "host privilege",
        hint: expect.stringMatching(/^client needs root or CAP_NET_ADMIN; run it as root/),
      });
    },
    WITHIN_MS,
  );
});
