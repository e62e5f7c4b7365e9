/** A relay's TLS listener on a port below 1024: its privileges, and another certificate on SIGHUP (RL-62, RL-200). */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { makeCertificate } from "../lib/certificate.ts";
import { eventually } from "../lib/observe.ts";
import { postern } from "../lib/program.ts";
import { describeWith, missingRequirement } from "../lib/requirements.ts";

const ADDRESS = "198.51.100.7";
const WITHIN_MS = 20_000;
const CAP_NET_BIND_SERVICE = 1n << 10n;
/** Runs the rest as nobody, with the one capability that a port below 1024 takes. */
const AS_NOBODY = [
  ...["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
  ...["--inh-caps", "-all,+net_bind_service", "--ambient-caps", "+net_bind_service"],
];

describeWith(["root", "netns", "build", "openssl"], "a relay's certificate", () => {
  let lab: Lab;
  let host: Namespace;

  beforeAll(async () => {
    lab = createLab();
    host = await lab.add("relay");
    await host.ip(`addr add ${ADDRESS}/32 dev lo`);
    mkdirSync(join(host.runFolder, "tls"));
    makeCertificate(join(host.runFolder, "tls"), "first.example", "DNS:first.example");
    writeFileSync(join(host.runFolder, "secret"), "a secret of at least 32 characters, for this test");
    await host.run("chmod", ["-R", "a+rX", "/run/tls"]);
    await host.run("chmod", ["600", "/run/secret"]);
  });
  afterAll(() => lab?.close());

  async function startRelay(prefix: readonly string[], port: string): Promise<Child> {
    const [command = "", ...args] = [
      ...[...prefix, ...postern("relay", "--stand-alone", "--public-ip4", ADDRESS)],
      ...["--stamp-secret-path", "/run/secret", "--tls-listen", `${ADDRESS}:${port}`],
      ...["--tls-cert", "/run/tls/crt", "--tls-key", "/run/tls/key"],
    ];
    const child = host.start({ name: "relay", command, args });
    await child.waitForLine(/ ready /, { withinMs: WITHIN_MS });
    return child;
  }

  /** The name in the certificate that the relay shows. */
  async function shown(port: string): Promise<string> {
    const ask = `openssl s_client -connect ${ADDRESS}:${port} </dev/null 2>/dev/null | openssl x509 -noout -subject`;
    return (await host.run("sh", ["-c", ask])).trim().replace(/^subject=\s*CN\s*=\s*/, "");
  }

  /** Effective capabilities of the thread that answers strangers: the process's first (RL-62). */
  const capabilities = (child: Child): bigint =>
    BigInt(`0x${/^CapEff:\s+(\w+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]}`);

  it("RL-200: SIGHUP shows the new certificate; one that cannot be used leaves the old one", {
    timeout: 60_000,
  }, async () => {
    const relay = await startRelay([], "443");
    expect(await shown("443")).toBe("first.example");
    makeCertificate(join(host.runFolder, "tls"), "second.example", "DNS:second.example");
    expect(await shown("443"), "not before it is told to").toBe("first.example");
    relay.signal("SIGHUP");
    await eventually(async () => expect(await shown("443")).toBe("second.example"));
    writeFileSync(join(host.runFolder, "tls/crt"), "no certificate");
    relay.signal("SIGHUP");
    await relay.waitForLine(/ ERROR .*certificate not read again; the old one stays in use/, {
      withinMs: WITHIN_MS,
    });
    expect(await shown("443")).toBe("second.example");
    expect(capabilities(relay), "of root nothing is left").toBe(0n);
    expect(await relay.stop()).toEqual({ status: 0, signal: undefined });
    makeCertificate(join(host.runFolder, "tls"), "third.example", "DNS:third.example");
  });

  it.skipIf(missingRequirement(["users"]) !== undefined)(
    "RL-62, RL-200: a user who may but open ports below 1024 runs it; once they are open he may no more",
    { timeout: 60_000 },
    async () => {
      await host.run("chown", ["65534", "/run/secret", "/run/tls/key"]);
      await host.run("chmod", ["a+rwxt", "/run"]);
      // Where others cannot read the clone, node cannot start.
      const tried = host.start({
        name: "node",
        command: "setpriv",
        args: [...AS_NOBODY.slice(1), ...postern("--version")],
      });
      if ((await tried.wait(WITHIN_MS)).status !== 0) return;
      const relay = await startRelay(AS_NOBODY, "444");
      expect(await shown("444")).toBe("third.example");
      expect(capabilities(relay) & CAP_NET_BIND_SERVICE).toBe(0n);
      // Control and both workers; the runtime's own threads were there before, and see no input.
      const threads = readdirSync(`/proc/${relay.pid}/task`).map((task) =>
        readFileSync(`/proc/${relay.pid}/task/${task}/status`, "utf8"),
      );
      expect(threads.filter((text) => /^CapEff:\s+0+$/m.test(text)).length).toBeGreaterThanOrEqual(3);
      expect(await relay.stop()).toEqual({ status: 0, signal: undefined });
    },
  );
});
