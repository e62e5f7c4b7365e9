/** What keeps a client or a gateway from running, and how it says so (PG-12 to PG-14). */

import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, patient } from "../../src/program/lab/index.ts";
import { buildWith, type ChangedBuild } from "../lib/changed-build.ts";
import { HIDE_HELPERS } from "../lib/hidden-helpers.ts";
import { captureHost, type HostSnapshot } from "../lib/leftovers.ts";
import { API_URL, createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { MAIN, postern } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 30_000;
const timeout = 60_000;

describeWith(
  ["netns", "tun", "nft", "ipv6", "openssl", "build"],
  "client and gateway that cannot run",
  () => {
    let office: Office;
    let portal: Child;
    let folder: string;
    let faulty: ChangedBuild;
    let untouched: HostSnapshot;
    /** Runs into its 15 s on a machine of its own, while the other tests go on. */
    let forlorn: { readonly child: Child; readonly lifeMs: Promise<number>; readonly before: HostSnapshot };

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "postern-exit-"));
      faulty = buildWith("worker", "faulty-library.mjs");
      office = await createOffice();
      office.configure([{ resource: "Office" }]);
      portal = await office.startPortal();
      untouched = await captureHost(office.client);
      const before = await captureHost(office.resource);
      const args = [
        "client",
        "--api-url",
        "ws://127.0.0.1:1",
        "--id",
        "forlorn",
        "--dns-control",
        "disabled",
      ];
      const startedAt = performance.now();
      const child = office.postern(office.resource, args, { POSTERN_TOKEN: office.tokens.client });
      forlorn = { child, lifeMs: child.exited.then(() => performance.now() - startedAt), before };
    });
    afterAll(async () => {
      await office?.close();
      faulty?.remove();
      rmSync(folder, { recursive: true, force: true });
    });

    const start = (args: readonly string[], token: string | undefined = office.tokens.client): Child =>
      office.postern(
        office.client,
        ["client", "--api-url", API_URL, "--id", "x", "--dns-control", "disabled", ...args],
        token === "" ? {} : { POSTERN_TOKEN: token },
      );

    /** Its exit code and its last words; whatever it had set up is gone. */
    async function endOf(child: Child) {
      const { status } = await child.wait(WITHIN_MS);
      const lines = child
        .stderr()
        .split("\n")
        .filter((line) => line !== "" && !/^\d{4}-.* (INFO|WARN) /.test(line));
      return { status, lines };
    }

    it("PG-20: a token file that others can read: exit 3, with its mode", async () => {
      const path = join(folder, "token");
      writeFileSync(path, office.tokens.client);
      chmodSync(path, 0o644);
      expect(await endOf(start(["--token-path", path], ""))).toEqual({
        status: 3,
        lines: [expect.stringContaining(`token file ${path} has mode 0644, expected 0400 or 0600`)],
      });
      chmodSync(path, 0o600);
      const check = start(["--token-path", path, "--check"], "");
      expect(await check.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
      expect(check.stdout()).toBe("check passed\n");
    });

    it("PG-13: --exit says how fast it was ready, and undoes everything", async () => {
      const child = start(["--exit"]);
      expect(await child.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
      expect(child.stdout()).toMatch(/^ready in \d+ ms\n$/);
      expect(await captureHost(office.client)).toEqual(untouched);
    });

    it("PG-11: a user without CAP_NET_ADMIN: exit 5, and what to do", async () => {
      const path = join(folder, "nobody.token");
      writeFileSync(path, office.tokens.client);
      const nobody = (...args: readonly string[]) =>
        spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", ...args], {
          timeout: 60_000,
          encoding: "utf8",
        });
      // The check comes before anything is opened, so a clone that others cannot read is told by itself.
      if (nobody("test", "-r", MAIN).status !== 0) return;
      const result = nobody(...postern("client", "-u", "ws://127.0.0.1:1", "--instance", "nobody"));
      expect(result.stderr).toMatch(
        /^postern: client needs root or CAP_NET_ADMIN; run it as root, or by setpriv/m,
      );
      expect(result.status).toBe(5);
    });

    it("PG-10: a second instance: exit 9 with the holder's pid; PG-29: a taken TUN name: exit 8", {
      timeout,
    }, async () => {
      const first = start([]);
      await first.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      expect(await endOf(start([]))).toEqual({
        status: 9,
        lines: [expect.stringContaining(`another instance of client is running (process ${first.pid})`)],
      });
      expect(await endOf(start(["--instance", "other", "--listen-port", "0"]))).toEqual({
        status: 8,
        lines: [expect.stringMatching(/device tun-postern is in use.*--tun-name/)],
      });
      expect(first.isRunning()).toBe(true);
      expect(await first.stop()).toEqual({ status: 0, signal: undefined });
      expect(await captureHost(office.client)).toEqual(untouched);
    });

    it("PG-174: a client beside another one: exit 8, and the routes of the first stay", {
      timeout,
    }, async () => {
      const first = start([]);
      await first.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      const routes = () => office.client.run("ip", ["route", "show", "table", "all"]);
      const before = await routes();
      expect(before).toContain("172.20.0.0/16 dev tun-postern");
      const other = ["--instance", "other", "--listen-port", "0", "--tun-name", "tun-other"];
      expect(await endOf(start(other))).toEqual({
        status: 8,
        lines: [expect.stringMatching(/device tun-postern of another client or gateway.*ip netns exec/)],
      });
      expect(await routes()).toBe(before);
      expect(await first.stop()).toEqual({ status: 0, signal: undefined });
      expect(await captureHost(office.client)).toEqual(untouched);
    });

    it("PG-41: a taken transport port is no reason to fail: another is used", async () => {
      const holder = office.traffic(office.client, "fountain", "52625");
      await holder.waitForLine(/^listening$/, { withinMs: WITHIN_MS });
      const child = start(["--exit", "--log", "info"]);
      expect(await child.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
      await holder.stop();
    });

    it("PG-9, PG-15: a stop signal in the middle of the start is an orderly end", { timeout }, async () => {
      for (const stage of [/cipher variant chosen/, /offloads/, /portal connected/]) {
        const child = start([]);
        await child.waitForLine(stage, { withinMs: WITHIN_MS });
        expect(await child.stop(), String(stage)).toEqual({ status: 0, signal: undefined });
        expect(await captureHost(office.client)).toEqual(untouched);
      }
    });

    it("PG-38: a TUN device that somebody removes: exit 8, and the rest is undone", { timeout }, async () => {
      const child = start([]);
      await child.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      await office.client.ip("link del tun-postern");
      expect(await endOf(child)).toEqual({
        status: 8,
        lines: [expect.stringMatching(/^postern: the TUN device is gone/)],
      });
      expect(await captureHost(office.client)).toEqual(untouched);
    });

    it("PG-18, TS-64: a worker that dies in a system call: exit 70, and everything is undone", {
      timeout,
    }, async () => {
      const args = ["client", "--api-url", API_URL, "--id", "x", "--dns-control", "disabled"];
      // Each packet takes at least one read.
      const env = { POSTERN_TOKEN: office.tokens.client, POSTERN_TEST_FAULTS: "read:60:0" };
      const child = office.postern(office.client, args, env, faulty.main);
      await child.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      const ping = ["-q", "-c", "60", "-i", "0.02", "-W", "1", OFFICE_V4];
      office.client.start({ name: "ping", command: "ping", args: ping });
      expect(await endOf(child)).toEqual({
        status: 70,
        lines: [expect.stringMatching(/^postern: the egress worker died/)],
      });
      expect(await captureHost(office.client)).toEqual(untouched);
    });

    it("PG-9, PG-70: a gateway that cannot masquerade: exit 8, and what came before is undone", {
      timeout,
    }, async () => {
      await office.gateway.sysctl("net/ipv6/conf/all/forwarding", "1");
      const before = await captureHost(office.gateway);
      const child = office.gateway.start({
        name: "gateway without nft",
        command: "sh",
        env: { ...process.env, POSTERN_TOKEN: office.tokens.gateway },
        args: [
          ...["-c", HIDE_HELPERS, "sh", ...postern()],
          ...["gateway", "--api-url", API_URL, "--id", "x"],
        ],
      });
      expect(await endOf(child)).toEqual({
        status: 8,
        lines: [expect.stringMatching(/^postern: .*nft is not installed.*--masquerade off/)],
      });
      expect(await captureHost(office.gateway)).toEqual(before);
    });

    it("PT-93, PG-14: a token that is revoked while it is used: exit 4", { timeout }, async () => {
      const child = start([]);
      await child.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
      office.configure([{ resource: "Office" }], { hasActor: false });
      expect(await endOf(child)).toEqual({ status: 4, lines: [expect.stringMatching(/^postern: .*token/)] });
      expect(await captureHost(office.client)).toEqual(untouched);
      office.configure([{ resource: "Office" }]);
      await portal.waitForLine(/configuration reloaded/, { withinMs: WITHIN_MS });
    });

    it("PT-29, PG-14, TS-30 no. 39: a portal whose certificate nobody vouches for: exit 7 at once", {
      timeout,
    }, async () => {
      const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
      const subject = ["-subj", "/CN=203.0.113.10", "-addext", "subjectAltName=IP:203.0.113.10"];
      const made = spawnSync(
        "openssl",
        [
          ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
          ...["-days", "2", "-keyout", key, "-out", cert, ...subject],
        ],
        { timeout: 60_000 },
      );
      expect(made.status, String(made.stderr)).toBe(0);
      const tls = office.postern(office.portal, [
        ...[
          "portal",
          "--listen",
          "203.0.113.10:8443",
          "--config",
          "/run/portal.yaml",
          "--data",
          "/run/data-tls",
        ],
        ...["--tls-cert", cert, "--tls-key", key],
      ]);
      await tls.waitForLine(/^ready$/, { withinMs: WITHIN_MS });
      const over = ["--api-url", "wss://203.0.113.10:8443"];
      expect(await endOf(start(over))).toEqual({
        status: 7,
        lines: [expect.stringMatching(/^postern: .*certificate.*SELF_SIGNED/)],
      });
      const trusting = start([...over, "--ca-file", cert, "--exit"]);
      expect(await trusting.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
      await tls.stop();
    });

    it("PG-14: a portal that cannot be reached: exit 6 after 15 s, and nothing is left", {
      timeout,
    }, async () => {
      expect(await endOf(forlorn.child)).toEqual({
        status: 6,
        lines: [expect.stringMatching(/^postern: .*ECONNREFUSED/)],
      });
      const lifeMs = await forlorn.lifeMs;
      expect(lifeMs).toBeGreaterThan(14_000);
      expect(lifeMs).toBeLessThan(patient(25_000));
      expect(await captureHost(office.resource)).toEqual(forlorn.before);
    });
  },
);
