/** `postern-wg`, as wg-quick starts its userspace implementation (WG-68). */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const PROGRAMS = join(import.meta.dirname, "../../build/program");
const POSTERN_WG = join(PROGRAMS, "postern-wg.js");
const MAIN = join(PROGRAMS, "main.js");
const WITHIN_MS = 20_000;

describeWith(["root", "netns", "tun", "wg", "build"], "postern-wg", () => {
  let lab: Lab;
  const ends: Namespace[] = [];
  beforeAll(async () => {
    lab = createLab();
    for (const role of ["bare-a", "bare-b"]) ends.push(await lab.add(role));
    const [a, b] = pair();
    await lab.connect(
      { namespace: a, device: "va", addresses: ["10.9.0.1/24"] },
      { namespace: b, device: "vb", addresses: ["10.9.0.2/24"] },
    );
  });
  afterAll(() => lab?.close());

  const pair = (): readonly [Namespace, Namespace] => {
    const [a, b] = ends;
    if (a === undefined || b === undefined) throw new Error("both ends are there");
    return [a, b];
  };
  const node = (where: Namespace, ...args: readonly string[]) =>
    where.start({ name: "postern-wg", command: process.execPath, args: ["--", ...args] });

  it("WG-68: returns when device and socket are there, and sets neither address nor route", async () => {
    for (const end of pair()) {
      const started = node(end, POSTERN_WG, "wg9");
      expect(await started.wait(WITHIN_MS), started.stderr()).toEqual({ status: 0, signal: undefined });
      expect(await end.run("wg", ["show", "wg9", "public-key"])).toBe("(none)\n");
      expect(await end.run("ip", ["-o", "link", "show", "dev", "wg9"])).toContain("mtu 1420");
      expect(await end.run("ip", ["-4", "-o", "addr", "show", "dev", "wg9"])).toBe("");
      expect(await end.run("ip", ["route", "show", "dev", "wg9"])).toBe("");
    }
  }, 60_000);

  it("WG-68: what wg and ip then set makes a tunnel", async () => {
    const [a, b] = pair();
    const keys = await Promise.all(
      [a, b].map(async (end) => {
        const file = join(end.runFolder, "key");
        await end.run("sh", ["-c", `umask 077; wg genkey >"$0"`, file]);
        return { file, public: (await end.run("sh", ["-c", 'wg pubkey <"$0"', file])).trim() };
      }),
    );
    for (const [i, end] of [a, b].entries()) {
      const other = 1 - i;
      const peer = ["peer", keys[other]?.public ?? "", "allowed-ips", `10.7.0.${other + 1}/32`];
      const own = ["private-key", keys[i]?.file ?? "", "listen-port", "51820"];
      await end.run("wg", ["set", "wg9", ...own, ...peer, "endpoint", `10.9.0.${other + 1}:51820`]);
      await end.ip(`addr add 10.7.0.${i + 1}/24 dev wg9`, "link set wg9 mtu 1400 up");
    }
    expect(await a.run("ping", ["-c", "1", "-W", "15", "10.7.0.2"], { withinMs: WITHIN_MS })).toContain(
      "1 received",
    );
  }, 60_000);

  it("WG-68: what keeps it from coming up is its exit code; without --detach it stays in the foreground", async () => {
    const [a] = pair();
    const second = node(a, POSTERN_WG, "wg9");
    expect((await second.wait(WITHIN_MS)).status).toBe(9);
    expect(second.stderr()).toContain("interface wg9 is in use");
    const file = node(a, MAIN, "wg", "--bare", "./wg9.conf");
    expect((await file.wait(WITHIN_MS)).status).toBe(2);
    const foreground = node(a, MAIN, "wg", "--bare", "wg8");
    await foreground.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
    expect(await foreground.stop()).toEqual({ status: 0, signal: undefined });
  }, 60_000);

  it("WG-65, WG-68: without its socket it ends, and the device with it", async () => {
    for (const end of pair()) {
      const socket = join(end.runFolder, "wireguard/wg9.sock");
      expect(existsSync(socket)).toBe(true);
      rmSync(socket);
      const gone = "for i in $(seq 200); do [ -e /sys/class/net/wg9 ] || exit 0; sleep 0.05; done; exit 1";
      await end.run("sh", ["-c", gone], { withinMs: WITHIN_MS });
    }
  }, 60_000);
});
