/**
 * A systemd-resolved in a namespace, with a message bus of its own and without systemd as process 1 (dns.md §17). It
 * need not be installed, which would take over the host's /etc/resolv.conf: `scripts/debian-packages.sh` unpacks it.
 */
import { appendFileSync, cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";

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

/** Whoever may reach the socket may say anything: all of them are the test's. */
const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
`;
/** It gives up root's rights for a user that a host without it does not have. */
const USER = "systemd-resolve";
const ITS_ETC = 'mount --bind /run/etc /etc && exec "$@"';

/** Resolves when it answers. The machine's `/run` is shared by all that is started there, so it has one bus. */
export async function startResolved(where: Namespace): Promise<Resolved> {
  const root = findResolved();
  if (root === undefined) throw new Error("systemd-resolved is not there");
  const etc = join(where.runFolder, "etc");
  mkdirSync(etc);
  cpSync("/etc/passwd", join(etc, "passwd"));
  cpSync("/etc/group", join(etc, "group"));
  appendFileSync(join(etc, "passwd"), `${USER}:x:64998:64998::/:/usr/sbin/nologin\n`);
  appendFileSync(join(etc, "group"), `${USER}:x:64998:\n`);
  symlinkSync("../run/systemd/resolve/stub-resolv.conf", join(etc, "resolv.conf"));
  for (const folder of ["dbus", "systemd"]) mkdirSync(join(where.runFolder, folder));
  writeFileSync(join(where.runFolder, "bus.conf"), BUS);
  const start = (name: string, command: string, args: readonly string[] = []) =>
    where.start({ name, command: "sh", args: ["-c", ITS_ETC, "sh", command, ...args] });
  const bus = start("dbus-daemon", "dbus-daemon", ["--config-file=/run/bus.conf", "--nofork", "--nopidfile"]);
  await eventually(() => {
    if (!existsSync(join(where.runFolder, "dbus/system_bus_socket"))) throw new Error("no bus");
  });
  const daemon = start("systemd-resolved", join(root, DAEMON));
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
