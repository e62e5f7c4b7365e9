import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatIp, type Instant, instant, ip, SILENT } from "../../../src/base/index.ts";
import { openDnsControl, type Resolvectl, revertHostDns } from "../../../src/host/dns-control.ts";
import { chooseDnsMode, type DnsSnapshot } from "../../../src/host/dns-mode.ts";
import { resolvedCommands, resolvedDomains } from "../../../src/host/resolved.ts";

const ORIGINAL = "nameserver 192.0.2.1\nsearch lan\n";
const WANTED = { servers: [ip("100.100.111.1")], searchDomain: "corp", suffixes: ["corp"] };
const at = (ms: number): Instant => instant(1_000_000 + ms);
const NO_RESOLVED: Resolvectl = { now: () => undefined, later: () => Promise.resolve(undefined) };

let folder: string;
const paths = () => ({
  file: join(folder, "resolv.conf"),
  backup: join(folder, "resolv.conf.before-postern"),
  resolvedServers: join(folder, "resolved.conf"),
  lock: join(folder, "run", "resolv.conf.lock"),
});
const read = (path: string) => readFileSync(path, "utf8");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dns-control-"));
  writeFileSync(paths().file, ORIGINAL);
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (
  resolvectl = NO_RESOLVED,
  wanted: Parameters<typeof openDnsControl>[0]["wanted"] = "auto",
  instance = "client",
) => openDnsControl({ wanted, tunName: "tun-postern", instance, log: SILENT, paths: paths(), resolvectl });

describe("/etc/resolv.conf", () => {
  it("DN-103, DN-105: ours while the client runs, as before when it has ended", () => {
    const control = open();
    expect(control.mode).toBe("etc-resolv-conf");
    control.want(at(0), WANTED);
    expect(read(paths().file)).toContain("nameserver 100.100.111.1\nsearch corp lan\n");
    expect(read(paths().backup)).toBe(ORIGINAL);
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.1"]);
    control.revert();
    control.revert();
    expect(read(paths().file)).toBe(ORIGINAL);
    expect(existsSync(paths().backup)).toBe(true);
  });

  it("DN-104: mode and owner stay", () => {
    chmodSync(paths().file, 0o604);
    const control = open();
    control.want(at(0), WANTED);
    expect(statSync(paths().file).mode & 0o777).toBe(0o604);
    control.revert();
    expect(statSync(paths().file).mode & 0o777).toBe(0o604);
  });

  it("DN-97: no server to give changes nothing", () => {
    const control = open();
    control.want(at(0), { ...WANTED, servers: [] });
    expect(read(paths().file)).toBe(ORIGINAL);
  });

  it("DN-104, DN-105: what a crash has left is undone by the next start", () => {
    open().want(at(0), WANTED);
    expect(read(paths().file)).not.toBe(ORIGINAL);
    const control = open();
    expect(read(paths().file)).toBe(ORIGINAL);
    control.want(at(0), { ...WANTED, searchDomain: undefined });
    expect(read(paths().backup)).toBe(ORIGINAL);
    control.revert();
    expect(read(paths().file)).toBe(ORIGINAL);
  });

  it("DN-104: the backup is never our own text, and is done without if it is lost", () => {
    open().want(at(0), WANTED);
    rmSync(paths().backup);
    const control = open();
    expect(read(paths().file)).toContain("search corp lan");
    expect(read(paths().file)).not.toContain("Postern");
    writeFileSync(paths().backup, "# BEGIN Postern DNS configuration\nnameserver 100.100.111.9\n");
    control.want(at(0), WANTED);
    expect(read(paths().backup)).not.toContain("Postern");
  });

  it("DN-105: two clients at once: each takes back its own, in whatever order they end", () => {
    const SECOND = { servers: [ip("100.100.111.7")], searchDomain: undefined, suffixes: [] };
    const servers = () => /nameserver .*/g[Symbol.match](read(paths().file));
    const both = ["nameserver 100.100.111.7", "nameserver 100.100.111.1"];
    for (const endsFirst of [0, 1] as const) {
      const first = open();
      first.want(at(0), WANTED);
      const second = open(NO_RESOLVED, "auto", "second");
      expect(servers()).toEqual(["nameserver 100.100.111.1"]);
      expect(second.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.1"]);
      second.want(at(0), SECOND);
      expect(servers()).toEqual(both);
      first.look(at(5_000));
      first.want(at(6_000), { ...WANTED, searchDomain: "other" });
      expect(servers()).toEqual(both);
      const controls = [first, second] as const;
      controls[endsFirst].revert();
      expect(servers()).toEqual([both[endsFirst]]);
      controls[endsFirst === 0 ? 1 : 0].revert();
      expect(read(paths().file)).toBe(ORIGINAL);
    }
  });

  it("DN-105: a client that was killed is undone by the start or the end of another one", () => {
    open(NO_RESOLVED, "auto", "killed").want(at(0), WANTED);
    // As a process that is no more would have written it.
    writeFileSync(paths().file, read(paths().file).replace(/process \d+ \(\d+\)/, "process 4194304 (1)"));
    const other = open(NO_RESOLVED, "auto", "other");
    expect(read(paths().file)).toBe(ORIGINAL);
    other.revert();
    // The same number as a living process, which has started at another time.
    open(NO_RESOLVED, "auto", "killed").want(at(0), WANTED);
    const reused = read(paths().file).replace(/process \d+ \(\d+\)/, `process ${process.pid} (1)`);
    writeFileSync(paths().file, reused);
    open(NO_RESOLVED, "auto", "other");
    expect(read(paths().file)).toBe(ORIGINAL);
  });

  it("DN-106: who was taken out of the file by another hand comes back", () => {
    const first = open();
    first.want(at(0), WANTED);
    writeFileSync(paths().file, read(paths().file).replace(/# Postern instance.*\n/, ""));
    first.look(at(5_000));
    expect(read(paths().file)).toContain("# Postern instance client,");
    first.revert();
    expect(read(paths().file)).toBe(ORIGINAL);
  });

  it("DN-104: a file of ours that was cut off while it was written is undone as a whole", () => {
    open().want(at(0), WANTED);
    const whole = read(paths().file);
    for (const length of [40, 120, whole.length - 1]) {
      writeFileSync(paths().file, whole.slice(0, length));
      open();
      expect(read(paths().file)).toBe(ORIGINAL);
    }
  });

  it("DN-105: what the user has written meanwhile is left alone", () => {
    const control = open();
    control.want(at(0), WANTED);
    writeFileSync(paths().file, "nameserver 192.0.2.77\n");
    control.revert();
    expect(read(paths().file)).toBe("nameserver 192.0.2.77\n");
  });

  it("DN-106: another's text is the new original, and ours comes back", () => {
    const control = open();
    control.want(at(0), WANTED);
    writeFileSync(paths().file, "nameserver 192.0.2.77\n");
    control.look(at(5_000));
    expect(read(paths().file)).toContain("nameserver 100.100.111.1");
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.77"]);
    control.revert();
    expect(read(paths().file)).toBe("nameserver 192.0.2.77\n");
  });

  it("DN-106: who keeps writing wins after five times a minute, for ten minutes", () => {
    const control = open();
    control.want(at(0), WANTED);
    const isOursAfter = (ms: number) => {
      writeFileSync(paths().file, "nameserver 192.0.2.77\n");
      control.look(at(ms));
      return read(paths().file).includes("Postern");
    };
    expect([0, 1, 2, 3, 4].map((i) => isOursAfter(i * 1_000))).toEqual(Array(5).fill(true));
    expect([5_000, 65_000, 604_999].map(isOursAfter)).toEqual([false, false, false]);
    expect(isOursAfter(605_000)).toBe(true);
  });

  it("DN-108: --revert-dns does the same, also where nothing is to be done", () => {
    const options = {
      tunName: "tun-postern",
      instance: "client",
      log: SILENT,
      paths: paths(),
      resolvectl: NO_RESOLVED,
    };
    revertHostDns(options);
    expect(read(paths().file)).toBe(ORIGINAL);
    open().want(at(0), WANTED);
    revertHostDns(options);
    expect(read(paths().file)).toBe(ORIGINAL);
    rmSync(paths().file);
    revertHostDns(options);
    expect(existsSync(paths().file)).toBe(false);
  });

  it("DN-95: `disabled` writes nothing, and reads the servers all the same", () => {
    const control = open(NO_RESOLVED, "disabled");
    control.want(at(0), WANTED);
    control.look(at(60_000));
    expect(read(paths().file)).toBe(ORIGINAL);
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.1"]);
    writeFileSync(paths().file, "nameserver 127.0.0.53\n");
    writeFileSync(paths().resolvedServers, "nameserver 192.0.2.5\n");
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.5"]);
  });
});

describe("systemd-resolved", () => {
  /** Answers all commands, and keeps them. */
  function fakeResolved(fails: (parameters: readonly string[]) => boolean = () => false) {
    const calls: string[] = [];
    const run = (parameters: readonly string[]): string | undefined => {
      calls.push(parameters.join(" "));
      return fails(parameters) ? undefined : "";
    };
    return { calls, now: run, later: (parameters: readonly string[]) => Promise.resolve(run(parameters)) };
  }
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

  beforeEach(() => {
    rmSync(paths().file);
    writeFileSync(join(folder, "stub"), "nameserver 127.0.0.53\n");
    symlinkSync(join(folder, "stub"), paths().file);
  });

  it("DN-98, DN-101: told all of it in order, and asked to forget; at the end it is reverted", async () => {
    const resolved = fakeResolved();
    const control = open(resolved);
    expect(control.mode).toBe("systemd-resolved");
    expect(resolved.calls).toEqual(["revert tun-postern", "status"]);
    resolved.calls.length = 0;
    control.want(at(0), WANTED);
    control.want(at(1), { ...WANTED });
    await settled();
    expect(resolved.calls).toEqual([
      "dns tun-postern 100.100.111.1",
      "domain tun-postern corp ~.",
      "default-route tun-postern true",
      "llmnr tun-postern true",
      "dnssec tun-postern no",
      "dnsovertls tun-postern no",
      "flush-caches",
    ]);
    control.revert();
    expect(resolved.calls.at(-1)).toBe("revert tun-postern");
    expect(read(paths().file)).toBe("nameserver 127.0.0.53\n");
  });

  it("DN-95: a link that says the way from its own folder is one into resolved's, too", () => {
    rmSync(paths().file);
    symlinkSync(relative(folder, "/run/systemd/resolve/resolv.conf"), paths().file);
    expect(open(fakeResolved()).mode).toBe("systemd-resolved");
  });

  it("DN-96, DN-98: only the first two must succeed; what failed is tried again after 30 s", async () => {
    const old = fakeResolved(([verb]) => verb === "llmnr");
    open(old).want(at(0), WANTED);
    await settled();
    expect(old.calls.at(-1)).toBe("flush-caches");
    let isBroken = true;
    const resolved = fakeResolved(([verb]) => isBroken && verb === "domain");
    const control = open(resolved);
    control.want(at(0), WANTED);
    await settled();
    expect(resolved.calls.at(-1)).toContain("domain");
    isBroken = false;
    resolved.calls.length = 0;
    control.look(at(29_999));
    await settled();
    expect(resolved.calls).toEqual([]);
    control.look(at(30_000));
    await settled();
    expect(resolved.calls).toHaveLength(7);
  });

  it("DN-102: the servers of all links", () => {
    const control = open({ ...fakeResolved(), now: () => "Link 2 (eth0): 192.0.2.1\n" });
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.1"]);
    writeFileSync(paths().resolvedServers, "nameserver 192.0.2.2\n");
    expect(control.systemServers().map(({ address }) => formatIp(address))).toEqual(["192.0.2.2"]);
  });

  it("DN-99, DN-100: `~.` always, and the suffixes of resources, the longest first, 200 in all", () => {
    expect(resolvedDomains({ searchDomain: undefined, suffixes: [] })).toEqual(["~."]);
    expect(
      resolvedDomains({ searchDomain: "corp", suffixes: ["corp", "b.lan", "lan", "a.b.lan", "lan", ""] }),
    ).toEqual(["corp", "~.", "~a.b.lan", "~b.lan", "~lan"]);
    const many = Array.from({ length: 300 }, (_, i) => `n${i}.example`);
    expect(resolvedDomains({ searchDomain: "corp", suffixes: many })).toHaveLength(200);
    expect(resolvedCommands("t", WANTED).filter(({ isNeeded }) => isNeeded)).toHaveLength(2);
  });
});

describe("the way of control", () => {
  const file = (text = ORIGINAL, isWritable = true) => ({ kind: "file", isWritable, text }) as const;
  const link = (target: string, text = "") => ({ kind: "symlink", target, text }) as const;
  const snapshot = (resolvConf: DnsSnapshot["resolvConf"], hasResolved = false): DnsSnapshot => ({
    resolvConf,
    isForeign: false,
    hasResolved,
  });

  it.each<[string, DnsSnapshot, string]>([
    [
      "resolved behind a link",
      snapshot(link("/run/systemd/resolve/stub-resolv.conf"), true),
      "systemd-resolved",
    ],
    [
      "resolved behind its stub's address",
      snapshot(file("nameserver 127.0.0.53\n"), true),
      "systemd-resolved",
    ],
    [
      "a link to resolved, which does not answer",
      snapshot(link("/run/systemd/resolve/stub-resolv.conf")),
      "disabled",
    ],
    ["a plain file", snapshot(file()), "etc-resolv-conf"],
    ["a plain file beside a resolved that nobody asks", snapshot(file(), true), "etc-resolv-conf"],
    ["a file that cannot be written", snapshot(file(ORIGINAL, false)), "disabled"],
    ["a link of somebody else", snapshot(link("/run/resolvconf/resolv.conf"), true), "disabled"],
    ["no file", snapshot({ kind: "absent" }), "disabled"],
    ["a folder", snapshot({ kind: "other" }), "disabled"],
    ["the file of another network namespace", { ...snapshot(file(), true), isForeign: true }, "disabled"],
  ])("DN-95: %s", (_, found, mode) => {
    const choice = chooseDnsMode("auto", found);
    expect(choice.mode).toBe(mode);
    expect(choice.reason === undefined).toBe(mode !== "disabled");
  });

  it("DN-96: a mode that was asked for and cannot be ends the start with a remedy", () => {
    const remedyOf = (wanted: "systemd-resolved" | "etc-resolv-conf", found: DnsSnapshot) => {
      try {
        return chooseDnsMode(wanted, found).mode;
      } catch (error) {
        return error instanceof Error && "hint" in error ? String(error.hint) : "no hint";
      }
    };
    expect(remedyOf("systemd-resolved", snapshot(file()))).toContain("--dns-control auto");
    expect(remedyOf("systemd-resolved", snapshot(file(), true))).toBe("systemd-resolved");
    expect(remedyOf("etc-resolv-conf", snapshot(link("x"), true))).toContain(
      "--dns-control systemd-resolved",
    );
    expect(remedyOf("etc-resolv-conf", snapshot(link("x")))).toContain("--dns-control disabled");
    expect(chooseDnsMode("disabled", snapshot(file(), true))).toEqual({ mode: "disabled" });
  });
});
