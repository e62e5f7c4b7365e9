/**
 * A systemd-resolved in a namespace, with a message bus of its own and without systemd as process 1 (dns.md §17). It
 * need not be installed, which would take over the host's /etc/resolv.conf: `scripts/debian-packages.sh` unpacks it.
 */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";
import { makeEtc, startBus, startInEtc } from "./own-etc.ts";

const ROOTS = [process.env["POSTERN_TEST_RESOLVED"], "/opt/postern-test/systemd-resolved", "/"];
const DAEMON = "lib/systemd/systemd-resolved";

/** Where it is unpacked or installed; `undefined`: nowhere. */
export function findResolved(): string | undefined {
  return ROOTS.find((root) => root !== undefined && root !== "" && existsSync(join(root, DAEMON)));
}

export interface Resolved {
  /** Runs resolvectl to its end; what it prints. @throws PosternError when it fails */
  resolvectl(...args: readonly string[]): Promise<string>;
  /** The folder of resolvectl. */
  readonly bin: string;
  /** Whether it and its bus run, and what they said: for whoever finds that nothing of it works any more. */
  state(): string;
}

/** Resolves when it answers. A machine that has an /etc and a bus already keeps them. */
export async function startResolved(where: Namespace, running?: Child): Promise<Resolved> {
  const root = findResolved();
  if (root === undefined) throw new Error("systemd-resolved is not there");
  const etc = running === undefined ? makeEtc(where) : join(where.runFolder, "etc");
  symlinkSync("../run/systemd/resolve/stub-resolv.conf", join(etc, "resolv.conf"));
  mkdirSync(join(where.runFolder, "systemd"));
  const bus = running ?? (await startBus(where));
  const daemon = startInEtc(where, join(root, DAEMON));
  const bin = join(root, "usr/bin");
  const resolvectl: Resolved["resolvectl"] = (...args) =>
    where.run(join(bin, "resolvectl"), ["--no-pager", ...args], { withinMs: 20_000 });
  await eventually(async () => void (await resolvectl("status")));
  const state = (): string =>
    [bus, daemon]
      .map((child) => `${child.name} ${child.isRunning() ? "runs" : "has ended"}: ${child.stderr()}`)
      .join("\n");
  return { resolvectl, bin, state };
}
