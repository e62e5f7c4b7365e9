/**
 * What people do with names behind a gateway: download, ssh, iperf3, UDP (TS-30, 13 to 15, 28, 31, 33; tunnel.md §12).
 */

import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { patient } from "../../src/program/lab/index.ts";
import { LAB, type NameOffice, startNameOffice } from "../lib/name-office.ts";
import { echo, eventually } from "../lib/observe.ts";
import { OFFICE_V4, OFFICE_V6, type Office } from "../lib/office.ts";
import { describeWith, missingRequirement } from "../lib/requirements.ts";

const WIKI = "wiki.corp.example";
const FOUR = "four.corp.example";
/** Three names of one address. */
const DOWNLOADS = { "five.lab.example": 5e6, "seven.lab.example": 7e6, "nine.lab.example": 9e6 } as const;
/** As `traffic.mjs serve` sends it. */
const PAGE = Buffer.alloc(256 << 10, "All that is gold does not glitter. ");
const timeout = 60_000;
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "dig", "unbound", "iperf3"] as const;

describeWith(NEEDS, "what programs do with names", () => {
  let office: Office;
  let names: NameOffice;

  beforeAll(async () => {
    const lab = [...Object.keys(DOWNLOADS), "host.lab.example"];
    names = await startNameOffice((made) => (office = made), {
      site: [
        ...[WIKI, ...lab].map((name) => `${name}. 60 IN A ${OFFICE_V4}`),
        ...[100, 101, 102, 103].map((last) => `${FOUR}. 60 IN A 172.20.0.${last}`),
        ...["100", "101", "102", "103"].map((last) => `${FOUR}. 60 IN AAAA fd20::${last}`),
        `both.lab.example. 60 IN A ${OFFICE_V4}`,
        `both.lab.example. 60 IN AAAA ${OFFICE_V6}`,
      ],
      gatewayArgs: ["--flow-logs"],
    });
    const server = office.traffic(office.resource, "serve", "80");
    await server.waitForLine(/^serving /, { withinMs: 10_000 });
  }, 120_000);
  afterAll(() => office?.close());

  const curl = (url: string, ...args: readonly string[]) =>
    names.run("curl", "--silent", "--show-error", "--max-time", "20", ...args, url);

  /** Fields of a line of the flow log, once there is one (PG-104). */
  async function flowOf(domain: string): Promise<Readonly<Record<string, string>>> {
    const flows = await flowsOf(domain);
    return flows.at(-1) ?? {};
  }
  function flowsOf(domain: string): Promise<readonly Readonly<Record<string, string>>[]> {
    return eventually(() => {
      const lines = names.gateway
        .stderr()
        .split("\n")
        .filter((line) => line.includes("flow_logs.") && line.includes(`inner_domain=${domain} `));
      expect(lines.length, domain).toBeGreaterThan(0);
      return lines.map((line) =>
        Object.fromEntries(
          [...line.matchAll(/(\w+)=(\S+)/g)].map(([, name = "", value = ""]) => [name, value]),
        ),
      );
    }, 20_000);
  }

  it("TS-30.13: 10 MB by a name arrive whole, as one flow of the log", { timeout }, async () => {
    const bytes = 10e6;
    const get = `curl --silent --show-error --max-time 30 http://${WIKI}/${bytes} | sha256sum`;
    const { stdout, stderr } = await names.run("sh", "-c", get);
    expect(stderr).toBe("");
    expect(stdout.split(" ")[0]).toBe(createHash("sha256").update(Buffer.alloc(bytes, PAGE)).digest("hex"));
    const flows = await flowsOf(WIKI);
    expect(flows).toHaveLength(1);
    expect(flows[0]).toMatchObject({ inner_dst_ip: OFFICE_V4, resource_name: "Wiki" });
    expect(Number(flows[0]?.["rx_bytes"])).toBeGreaterThanOrEqual(bytes);
  });

  it("TS-30.14, TN-65: three names of one address at once, from one port", { timeout }, async () => {
    const resolved = await Promise.all(
      Object.keys(DOWNLOADS).map(async (name) => {
        const { stdout } = await names.run("dig", "+short", name, "A");
        return { name, address: stdout.split("\n")[0] ?? "" };
      }),
    );
    expect(new Set(resolved.map(({ address }) => address)).size).toBe(3);
    // Resolved before: with one port for all there is none left for a query.
    await office.client.sysctl("net/ipv4/ip_local_port_range", "40000 40000");
    const ended = await Promise.all(
      Object.entries(DOWNLOADS).map(async ([name, bytes], i) => {
        const options = ["--limit-rate", "4M", "--resolve", `${name}:80:${resolved[i]?.address}`];
        const format = [
          "--output",
          "/dev/null",
          "--write-out",
          "%{local_port} %{size_download} %header{x-seen-port}",
        ];
        return (await curl(`http://${name}/${bytes}`, ...options, ...format)).stdout.split(" ");
      }),
    );
    await office.client.sysctl("net/ipv4/ip_local_port_range", "32768 60999");
    expect(ended.map(([port, size]) => [port, Number(size)])).toEqual(
      Object.values(DOWNLOADS).map((bytes) => ["40000", bytes]),
    );
    expect(ended.map(([, , seen]) => seen).sort()).toEqual(["40000", "40001", "40002"]);
    for (const [name, bytes] of Object.entries(DOWNLOADS)) {
      const rx = Number((await flowOf(name))["rx_bytes"]);
      expect(rx).toBeGreaterThanOrEqual(bytes);
      expect(rx).toBeLessThan(bytes + 1e6);
    }
  });

  it("TS-30.15: a download that is given up ends its flow", { timeout }, async () => {
    const slow = ["--silent", "-4", "--limit-rate", "1M", "-o", "/run/part"];
    const download = office.program(office.client, "curl", ...slow, "http://both.lab.example/50000000");
    const part = join(office.client.runFolder, "part");
    await eventually(() => expect(statSync(part).size).toBeGreaterThan(500e3));
    expect(await download.stop()).toEqual({ status: undefined, signal: "SIGTERM" });
    const flow = await flowOf("both.lab.example");
    expect(Number(flow["rx_bytes"])).toBeGreaterThan(500e3);
    expect(Number(flow["rx_bytes"])).toBeLessThan(50e6);
  });

  it("TS-30.28: two names behind one gateway are pinged", { timeout }, async () => {
    for (const name of [WIKI, "host.lab.example"]) {
      const { status, stdout } = await names.run("ping", "-4", "-c", "2", "-i", "0.3", "-W", "5", name);
      expect(stdout).toContain("2 received");
      expect(status).toBe(0);
    }
  });

  it("TS-30.31, TN-12: a port that is not permitted is refused for each of the 4 + 4 addresses, at once", {
    timeout,
  }, async () => {
    // Known to the gateway by then.
    expect((await curl(`http://${FOUR}/`, "-4", "-o", "/dev/null")).status).toBe(0);
    // curl takes its time between two addresses; each of them answers at once.
    const { status, stderr } = await curl(`http://${FOUR}:81/`, "--verbose");
    expect(status).toBe(7);
    const failures = [...stderr.matchAll(/connect to (\S+) port 81 failed: (.+)$/gm)];
    const of = (isV6: boolean) =>
      failures.filter(([, address = ""]) => address.includes(":") === isV6).map(([, , why]) => why);
    expect(of(false)).toEqual(Array(4).fill("No route to host"));
    expect(of(true)).toEqual(Array(4).fill("Permission denied"));
    const addresses = failures.map(([, address = ""]) => address);
    const said = await knock("81", addresses);
    expect(said.map(({ code }) => code).sort()).toEqual([
      ...Array(4).fill("EACCES"),
      ...Array(4).fill("EHOSTUNREACH"),
    ]);
    expectPrompt(said);
  });

  it("TS-30.33, TN-61 row 9: the other family of a name with one is unreachable at once, and curl goes on", {
    timeout,
  }, async () => {
    const host = "http://host.lab.example/";
    expect((await curl(host, "-o", "/dev/null")).status).toBe(0);
    const only6 = await curl(host, "-6", "--verbose");
    expect(only6.status).toBe(7);
    const failures = [...only6.stderr.matchAll(/connect to (\S+) port 80 failed: No route to host$/gm)];
    expect(failures).toHaveLength(4);
    const said = await knock(
      "80",
      failures.map(([, address = ""]) => address),
    );
    expect(said.map(({ code }) => code)).toEqual(Array(4).fill("EHOSTUNREACH"));
    expectPrompt(said);
    expect(await curl("http://both.lab.example/", "-6", "-o", "/dev/null")).toMatchObject({ status: 0 });
  });

  interface Knock {
    readonly code: string;
    readonly ms: number;
  }

  /** What becomes of a TCP connection to each of the addresses, and when. */
  async function knock(port: string, addresses: readonly string[]): Promise<readonly Knock[]> {
    const child = office.traffic(office.client, "knock", port, ...addresses);
    expect((await child.wait(30_000)).status).toBe(0);
    const said = [...child.stdout().matchAll(/: (\w+) in (\d+) ms$/gm)];
    return said.map(([, code = "", ms = ""]) => ({ code, ms: Number(ms) }));
  }

  /** 9 ms for eight where nothing else runs (seed 003). A SYN that is lost is sent again after a second. */
  function expectPrompt(said: readonly Knock[]): void {
    expect(said.reduce((sum, { ms }) => sum + ms, 0)).toBeLessThan(patient(1000));
  }

  it.skipIf(missingRequirement(["users", "sshd"]) !== undefined)(
    "TN-65: ssh by name: a command, and 2 MB through it",
    { timeout },
    async () => {
      await startSshd(office);
      const options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "ConnectTimeout=15"];
      const ssh = ["ssh", "-q", "-i", "/run/key", ...options.flatMap((option) => ["-o", option])];
      const login = [...ssh, "root@host.lab.example"].join(" ");
      const { stdout, stderr } = await names.run("sh", "-c", `head -c 2000000 /dev/zero | ${login} wc -c`);
      expect(`${stderr}${stdout}`.trim()).toBe("2000000");
    },
  );

  it("TN-82, TN-83: iperf3 by name, TCP and UDP; taken back in the middle, nothing more arrives", {
    timeout,
  }, async () => {
    const iperf3 = { name: "iperf3", command: "iperf3", args: ["-s", "--forceflush"] };
    const server = office.resource.start(iperf3);
    await server.waitForLine(/Server listening/, { withinMs: 10_000 });
    const target = ["-c", "host.lab.example", "-4"];
    const udp = await names.run("iperf3", ...target, "-u", "-b", "20M", "-t", "1", "--json");
    const sum = (JSON.parse(udp.stdout) as { end: { sum: { packets: number; lost_packets: number } } }).end
      .sum;
    expect(sum.packets).toBeGreaterThan(500);
    expect(sum.lost_packets / sum.packets).toBeLessThan(0.2);
    const tcp = office.program(office.client, "iperf3", ...target, "-t", "30", "-i", "0.5", "--forceflush");
    await tcp.waitForLine(/sec .*Mbits\/sec|Gbits\/sec/, { withinMs: 15_000 });
    office.configure([{ resource: "Wiki" }]);
    await eventually(() => expect(names.gateway.stderr()).toMatch(/access ended/), 20_000);
    // Of each interval the server tells what came.
    const quiet = (): number =>
      /(?:\s0\.00 bits\/sec[^\n]*\n[^\n]*)+$/.exec(server.stdout())?.[0].match(/ 0\.00 bits/g)?.length ?? 0;
    await eventually(() => expect(quiet()).toBeGreaterThan(2), 20_000);
    await Promise.all([tcp.stop(), server.stop()]);
    office.configure([{ resource: "Wiki" }], { names: [LAB] });
  });

  it("TS-30: no program complained, and the kernel still has one way to the host", { timeout }, async () => {
    expect(await echo(office.client, "10.30.0.1")).toBe("answered");
    for (const program of [names.client, names.gateway, names.portal])
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
  });
});

/** sshd with a key of its own, and a login for it in the client's `/run/key`. */
async function startSshd(office: Office): Promise<void> {
  const { resource, client } = office;
  mkdirSync(join(resource.runFolder, "sshd"), { recursive: true });
  for (const [where, name] of [
    [resource, "host-key"],
    [client, "key"],
  ] as const)
    await where.run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `/run/${name}`]);
  const allowed = join(resource.runFolder, "allowed");
  writeFileSync(allowed, readFileSync(join(client.runFolder, "key.pub")));
  chmodSync(allowed, 0o600);
  const options = ["HostKey=/run/host-key", "AuthorizedKeysFile=/run/allowed", "StrictModes=no", "UsePAM=no"];
  const args = ["PidFile=none", "PermitRootLogin=yes", ...options].flatMap((option) => ["-o", option]);
  const sshd = resource.start({
    name: "sshd",
    command: "/usr/sbin/sshd",
    args: ["-D", "-e", "-f", "/dev/null", ...args],
  });
  await sshd.waitForLine(/Server listening/, { withinMs: 10_000 });
}
