/** A machine with an /etc and a message bus of its own, for what manages a host and is not installed on ours (dns.md §17). */
import { appendFileSync, cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";

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
/** systemd-resolved gives up root's rights for a user that a host without it does not have. */
const USER = "systemd-resolve";
const ITS_ETC = ["sh", "-c", 'mount --bind /run/etc /etc && exec "$@"', "sh"];

/** The folder that the machine sees as /etc, as a whole: files in it can be renamed over each other. */
export function makeEtc(where: Namespace): string {
  const etc = join(where.runFolder, "etc");
  mkdirSync(etc);
  for (const name of ["passwd", "group", "hosts"]) cpSync(join("/etc", name), join(etc, name));
  appendFileSync(join(etc, "passwd"), `${USER}:x:64998:64998::/:/usr/sbin/nologin\n`);
  appendFileSync(join(etc, "group"), `${USER}:x:64998:\n`);
  writeFileSync(join(etc, "nsswitch.conf"), "hosts: files dns\n");
  return etc;
}

/** What a command is put behind to see the machine's /etc; every process has a mount namespace of its own. */
export function inEtcOf(where: Namespace): readonly string[] {
  return existsSync(join(where.runFolder, "etc")) ? ITS_ETC : [];
}

/** Resolves when it listens. The machine's `/run` is shared by all that is started there, so it has one bus. */
export async function startBus(where: Namespace): Promise<Child> {
  mkdirSync(join(where.runFolder, "dbus"));
  writeFileSync(join(where.runFolder, "bus.conf"), BUS);
  const bus = startInEtc(where, "dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile");
  await eventually(() => {
    if (!existsSync(join(where.runFolder, "dbus/system_bus_socket"))) throw new Error("no bus");
  });
  return bus;
}

export function startInEtc(where: Namespace, program: string, ...rest: readonly string[]): Child {
  const [command = "", ...args] = [...inEtcOf(where), program, ...rest];
  return where.start({ name: program.split("/").at(-1) ?? program, command, args });
}

/** To its end; what it prints. @throws PosternError when it fails */
export function runInEtc(where: Namespace, program: string, ...rest: readonly string[]): Promise<string> {
  const [command = "", ...args] = [...inEtcOf(where), program, ...rest];
  return where.run(command, args, { withinMs: 20_000 });
}
