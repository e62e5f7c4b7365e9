import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import {
  createLab,
  INHERITED_SETTINGS,
  type Lab,
  removeLeftovers,
  startChild,
} from "../../src/program/lab/index.ts";
import { captureHost } from "../lib/leftovers.ts";
import { describeWith } from "../lib/requirements.ts";

describeWith(["netns"], "network namespaces for demo, tests and benchmarks", () => {
  let lab: Lab;

  beforeEach(() => {
    lab = createLab();
  });
  afterEach(() => lab.close());

  it("TS-22: two ends reach each other over a router, both families, without waiting for DAD", async () => {
    const [left, router, right] = [await lab.add("left"), await lab.add("router"), await lab.add("right")];
    await router.sysctl("net/ipv4/ip_forward", "1");
    await router.sysctl("net/ipv6/conf/all/forwarding", "1");
    await lab.connect(
      { namespace: left, device: "wan", addresses: ["10.1.0.2/24", "fd01::2/64"] },
      { namespace: router, device: "lan1", addresses: ["10.1.0.1/24", "fd01::1/64"] },
    );
    await lab.connect(
      { namespace: right, device: "wan", addresses: ["10.2.0.2/24", "fd02::2/64"] },
      { namespace: router, device: "lan2", addresses: ["10.2.0.1/24", "fd02::1/64"] },
    );
    await left.ip("route add default via 10.1.0.1", "route add ::/0 via fd01::1");
    await right.ip("route add default via 10.2.0.1", "route add ::/0 via fd02::1");
    for (const address of ["10.2.0.2", "fd02::2"]) {
      expect(await left.run("ping", ["-c", "1", "-W", "2", address])).toMatch(/ 1 received/);
    }
  });

  it("TS-22: no two devices have one index, so that the kernel sees each cable at once", async () => {
    const ends = [await lab.add("left"), await lab.add("right")];
    const [left, right] = ends.map((namespace, i) => ({
      namespace,
      device: "wan",
      addresses: [`10.1.0.${i + 1}/24`],
    }));
    if (left !== undefined && right !== undefined) await lab.connect(left, right);
    const indices = ends.map((end) => end.run("cat", ["/sys/class/net/wan/ifindex"]));
    expect(new Set(await Promise.all(indices)).size).toBe(2);
  });

  it("TS-22: a machine has the kernel's own defaults, whatever the host's settings are", async () => {
    const machine = await lab.add("plain");
    const paths = Object.keys(INHERITED_SETTINGS).map((path) => `/proc/sys/${path}`);
    const values = (await machine.run("cat", paths)).trim().split("\n");
    expect(values).toEqual(Object.values(INHERITED_SETTINGS));
  });

  it("TS-77: with POSTERN_PCAP all packets of a namespace are in its file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-pcap-"));
    vi.stubEnv("POSTERN_PCAP", folder);
    const [left, right] = [await lab.add("left"), await lab.add("right")];
    vi.unstubAllEnvs();
    await lab.connect(
      { namespace: left, device: "wan", addresses: ["10.1.0.1/24"] },
      { namespace: right, device: "wan", addresses: ["10.1.0.2/24"] },
    );
    await left.run("ping", ["-c", "1", "-W", "2", "-p", "c0ffee", "10.1.0.2"]);
    await lab.close();
    const file = readFileSync(join(folder, `left-${process.pid}.pcap`));
    rmSync(folder, { recursive: true });
    // Little-endian pcap without link headers; the pattern is in the request and in the answer.
    expect([file.readUInt32LE(0), file.readUInt32LE(20)]).toEqual([0xa1b2c3d4, 101]);
    expect(file.toString("hex").split("c0ffeec0ffeec0ffee").length - 1).toBeGreaterThanOrEqual(2);
  });

  it("TS-30: what a program leaves behind shows in the second snapshot", async () => {
    const end = await lab.add("end");
    const before = await captureHost(end);
    await end.run("sh", ["-c", "touch /run/left.sock && ip link add one type veth peer name two"]);
    await end.ip("rule add fwmark 1 lookup 77", "route add blackhole 192.0.2.0/24 table 77");
    const after = await captureHost(end);
    expect(after.runFiles.length).toBe(before.runFiles.length + 1);
    expect(after.links.length).toBe(before.links.length + 2);
    expect(after.routes).toContainEqual(expect.stringContaining("blackhole 192.0.2.0/24 table 77"));
    expect(after.rules.length).toBe(before.rules.length + 1);
  });

  it("D-22: removes what a dead run left, and nothing of a living one", async () => {
    await lab.add("living");
    const dead = spawnSync("true", { timeout: 60_000 }).pid;
    spawnSync("ip", ["netns", "add", `pt${dead}-gone`], { timeout: 60_000 });
    mkdirSync(join(tmpdir(), `pt${dead}-gone`));
    removeLeftovers();
    expect(existsSync(`/run/netns/pt${dead}-gone`)).toBe(false);
    expect(existsSync(join(tmpdir(), `pt${dead}-gone`))).toBe(false);
    expect(existsSync(`/run/netns/pt${process.pid}-living`)).toBe(true);
  });

  it("D-22: close ends what runs inside and removes the namespaces", async () => {
    const end = await lab.add("end");
    const child = end.start({ name: "sleeper", command: "sh", args: ["-c", "echo up; exec sleep 600"] });
    await child.waitForLine(/^up$/, { withinMs: 5000 });
    await lab.close();
    expect(child.isRunning()).toBe(false);
    expect(existsSync(`/run/netns/${end.name}`)).toBe(false);
    expect(existsSync(end.runFolder)).toBe(false);
  });
});

describeWith([], "child processes", () => {
  it("TS-3: waiting for a line is bounded, and the message shows what was said instead", async () => {
    const child = startChild({ name: "talker", command: "sh", args: ["-c", "echo other; exec sleep 60"] });
    await child.waitForLine(/^other$/, { withinMs: 5000 });
    await expect(child.waitForLine(/ready/, { withinMs: 20 })).rejects.toThrow(
      /talker did not print .ready. within 20 ms; it said: other/,
    );
    expect(await child.stop()).toEqual({ status: undefined, signal: "SIGTERM" });
  });

  it("TS-3: a process that ends before its line is reported at once with its status", async () => {
    const child = startChild({ name: "quitter", command: "sh", args: ["-c", "echo oops >&2; exit 3"] });
    await expect(child.waitForLine(/ready/, { withinMs: 60_000 })).rejects.toThrow(
      /quitter ended with status 3 .*oops/,
    );
  });

  it("PG-14: a program that does not exist is status 127, not a crash", async () => {
    const child = startChild({ name: "nobody", command: "postern-no-such-program" });
    expect(await child.exited).toEqual({ status: 127, signal: undefined });
    expect(child.stderr()).toContain("ENOENT");
  });
});
