/**
 * Network namespaces, joined by veth pairs, in which programs run as if on machines of their own.
 *
 * ```
 *   ns A ── veth ── router ── veth ── ns B       names pt<pid>-<role>, /run of each its own
 * ```
 *
 * Nothing outside is touched: every device is created inside a namespace. `/run`, which network
 * namespaces share, is a folder per namespace, mounted over `/run` for what is started there; so
 * sockets and locks of two ends do not meet. What a killed run left behind (its pid is dead) is
 * removed when the next one starts (TS-22, D-22).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { programCommand, rootFile } from "../../../bindings/runtime/index.ts";
import { findHelper, helperEnvironment, type SysctlPath } from "../../host/index.ts";
import { type Child, type ChildOptions, runCommand, startChild } from "./child.ts";

const NAME = /^pt(\d+)-/;
const NETNS_FOLDER = "/run/netns";
/** Beyond those that the kernel gives by itself, each for one device of a process. */
let lastIndex = 1_000;
/** Of this process; several labs may have machines of one role. */
const namesInUse = new Set<string>();
const CAPTURE = fileURLToPath(rootFile("scripts/capture.mjs"));

/**
 * IPv4 settings that the kernel copies from the first namespace into each new one (net.core.devconf_inherit_init_net
 * = 0), with its own defaults. A host that forwards, or on which a full tunnel ran once (PG-15), would otherwise
 * hand that on to every machine of a lab.
 */
export const INHERITED_SETTINGS: Readonly<Record<SysctlPath, string>> = {
  "net/ipv4/ip_forward": "0",
  "net/ipv4/conf/all/src_valid_mark": "0",
  "net/ipv4/conf/default/src_valid_mark": "0",
  "net/ipv4/conf/all/rp_filter": "0",
  "net/ipv4/conf/default/rp_filter": "0",
};

/** Addresses are usable at once. */
const WITHOUT_DAD: Readonly<Record<SysctlPath, string>> = {
  "net/ipv6/conf/all/accept_dad": "0",
  "net/ipv6/conf/default/accept_dad": "0",
};

/** Programs of ours in a namespace keep what they have below its `/run`, whatever the variables outside say. */
const OWN_FOLDERS = { RUNTIME_DIRECTORY: undefined, STATE_DIRECTORY: "/run/postern-state" } as const;

/** One end of a veth pair. Device names are not to be abbreviations of ip's keywords (TS-22). */
export interface Port {
  readonly namespace: Namespace;
  readonly device: string;
  /** With prefix length, `192.0.2.1/24` or `2001:db8::1/64`. */
  readonly addresses: readonly string[];
  readonly mtu?: number;
}

export interface Namespace {
  readonly role: string;
  /** As `ip netns` knows it. */
  readonly name: string;
  /** What processes in the namespace see as `/run`. */
  readonly runFolder: string;
  /** Starts a process inside; it ends with the lab at the latest. */
  start(options: ChildOptions): Child;
  /** Runs a program inside to its end and returns its standard output. */
  run(command: string, args: readonly string[], options?: { withinMs?: number }): Promise<string>;
  /** Runs lines of `ip -batch` inside; a batch knows no `-6`: write `route add ::/0 …`. */
  ip(...lines: readonly string[]): Promise<void>;
  /** Writes a setting below `/proc/sys`, e.g. `net/ipv4/ip_forward`. */
  sysctl(path: string, value: string): Promise<void>;
}

export interface Lab {
  /** Makes a namespace with `lo` up; IPv6 addresses are usable at once (accept_dad=0). */
  add(role: string): Promise<Namespace>;
  connect(a: Port, b: Port): Promise<void>;
  /** Ends all processes inside and removes the namespaces. Safe to call twice. */
  close(): Promise<void>;
}

export function createLab(): Lab {
  removeLeftovers();
  const scratch = mkdtempSync(join(tmpdir(), `pt${process.pid}-`));
  const namespaces: Namespace[] = [];
  const children: Child[] = [];
  let isClosed = false;
  // The last resort when the process ends without `close`, for instance by an uncaught exception.
  const onExit = (): void => {
    // Also those that have not entered their namespace yet.
    for (const child of children) child.signal("SIGKILL");
    removeSync(namespaces, scratch);
  };
  process.once("exit", onExit);
  return {
    async add(role) {
      const namespace = createNamespace(role, scratch, children);
      await runCommand({ name: "ip", command: "ip", args: ["netns", "add", namespace.name] });
      namespaces.push(namespace);
      const hasIpv6 = existsSync("/proc/sys/net/ipv6");
      await writeSettings(namespace, { ...INHERITED_SETTINGS, ...(hasIpv6 && WITHOUT_DAD) });
      await namespace.ip("link set lo up");
      await capture(namespace);
      return namespace;
    },
    connect,
    async close() {
      if (isClosed) return;
      isClosed = true;
      // The newest first: clients say goodbye while their portal still listens.
      for (const child of children.reverse()) await child.stop();
      process.off("exit", onExit);
      removeSync(namespaces, scratch);
    },
  };
}

/**
 * In a clone: with `POSTERN_PCAP=FOLDER` all packets of every namespace are written to `ROLE-PID.pcap` there
 * (docs/debugging.md).
 */
async function capture(namespace: Namespace): Promise<void> {
  const folder = process.env["POSTERN_PCAP"] ?? "";
  if (folder === "" || !existsSync(CAPTURE)) return;
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${namespace.role}-${process.pid}.pcap`);
  const child = namespace.start({ name: "capture", ...programCommand(CAPTURE, [file]) });
  await child.waitForLine(/^capturing$/, { withinMs: 10_000 });
}

function createNamespace(role: string, scratch: string, children: Child[]): Namespace {
  const name = takeName(`pt${process.pid}-${role}`);
  const runFolder = join(scratch, role);
  mkdirSync(runFolder, { recursive: true });
  // `exec` keeps the process id: what is signalled is the program, not a shell around it.
  const inside = ["netns", "exec", name, "sh", "-c", 'mount --bind "$0" /run && exec "$@"', runFolder];
  const wrap = (options: ChildOptions): ChildOptions => ({
    ...options,
    env: { ...(options.env ?? process.env), ...OWN_FOLDERS },
    command: "ip",
    args: [...inside, options.command, ...(options.args ?? [])],
  });
  return {
    role,
    name,
    runFolder,
    start(options) {
      const child = startChild(wrap({ ...options, name: `${options.name} (${role})` }));
      children.push(child);
      return child;
    },
    run: (command, args, { withinMs = 10_000 } = {}) =>
      runCommand({ ...wrap({ name: `${command} (${role})`, command, args }), withinMs }),
    async ip(...lines) {
      const input = `${lines.join("\n")}\n`;
      await runCommand({ name: `ip (${role})`, command: "ip", args: ["-n", name, "-batch", "-"], input });
    },
    sysctl: (path, value) => writeSettings({ role, name }, { [path]: value }),
  };
}

function takeName(wanted: string): string {
  let name = wanted;
  for (let n = 2; namesInUse.has(name); n++) name = `${wanted}-${n}`;
  namesInUse.add(name);
  return name;
}

/** All by one process: a lab has many namespaces. */
async function writeSettings(
  { role, name }: Pick<Namespace, "role" | "name">,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const script = 'while [ $# -gt 0 ]; do echo "$2" > "/proc/sys/$1" || exit 1; shift 2; done';
  const args = ["netns", "exec", name, "sh", "-c", script, "sh", ...Object.entries(settings).flat()];
  await runCommand({ name: `sysctl ${Object.keys(settings).join(" ")} (${role})`, command: "ip", args });
}

/**
 * The two ends have different indices: where they have the same, as first devices of two namespaces do, the kernel takes
 * the pair for one device and looks at its cable once a second only (TS-22).
 */
async function connect(a: Port, b: Port): Promise<void> {
  const of = ({ device, namespace }: Port) => [device, "index", String(++lastIndex), "netns", namespace.name];
  const args = ["link", "add", ...of(a), "type", "veth", "peer", "name", ...of(b)];
  await runCommand({ name: "ip", command: "ip", args });
  for (const port of [a, b]) await bringUp(port);
  const hasIpv6 = [...a.addresses, ...b.addresses].some((address) => address.includes(":"));
  if (hasIpv6) await Promise.all([untilReady(a), untilReady(b)]);
}

/**
 * Waits until the kernel's watch of links has seen the cable: before that IPv6 neither asks for neighbours nor answers
 * (TS-22).
 */
async function untilReady({ namespace: { name, role }, device }: Port): Promise<void> {
  const script =
    'for i in $(seq 150); do [ "$(cat "/sys/class/net/$0/operstate")" = up ] && exit 0; sleep 0.02; done; exit 1';
  const args = ["netns", "exec", name, "sh", "-c", script, device];
  await runCommand({ name: `waiting for ${device} (${role})`, command: "ip", args });
}

/** Gives a device that is there its MTU and addresses. */
export async function bringUp({ namespace, device, addresses, mtu }: Port): Promise<void> {
  await namespace.ip(
    ...(mtu === undefined ? [] : [`link set ${device} mtu ${mtu}`]),
    ...addresses.map(
      (address) => `addr add ${address} dev ${device}${address.includes(":") ? " nodad" : ""}`,
    ),
    `link set ${device} up`,
  );
}

/** Ends what still runs in the namespaces and removes them. Synchronous, for the end of a process. */
function removeSync(namespaces: readonly Namespace[], scratch: string): void {
  for (const { name } of namespaces) {
    removeNamespace(name);
    namesInUse.delete(name);
  }
  rmSync(scratch, { recursive: true, force: true });
}

function removeNamespace(name: string): void {
  // A namespace lives as long as a process in it, whatever becomes of its name.
  const pids = runIp("netns", "pids", name);
  for (const pid of pids.split("\n").filter((line) => line !== "")) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself in between.
    }
  }
  runIp("netns", "del", name);
}

/** What `ip` prints; nothing when it fails: what is to be removed may be gone already. */
function runIp(...args: readonly string[]): string {
  return spawnSync("ip", args, { timeout: 60_000, env: helperEnvironment(), encoding: "utf8" }).stdout ?? "";
}

/** Removes namespaces and folders of labs whose process no longer exists. */
export function removeLeftovers(): void {
  const names = existsSync(NETNS_FOLDER) ? readdirSync(NETNS_FOLDER) : [];
  for (const name of names) {
    if (isAbandoned(name)) removeNamespace(name);
  }
  for (const name of readdirSync(tmpdir())) {
    if (isAbandoned(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAbandoned(name: string): boolean {
  const pid = NAME.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/**
 * Whether namespaces can be made here, and if not, which of the conditions is missing (PG-88).
 * @returns `undefined` when they can
 */
export function missingForLab(): "ip" | "privilege" | undefined {
  if (findHelper("ip") === undefined) return "ip";
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  // CAP_SYS_ADMIN (21) makes namespaces, CAP_NET_ADMIN (12) configures them.
  const needed = (1n << 21n) | (1n << 12n);
  return (BigInt(`0x${capabilities}`) & needed) === needed ? undefined : "privilege";
}
