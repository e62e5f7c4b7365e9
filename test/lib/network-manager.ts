/**
 * A NetworkManager in a namespace, with /etc, /run, /var/lib and a message bus of its own (dns.md §17). It need not be
 * installed, which would take over the host's network: `scripts/debian-packages.sh` unpacks it.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";
import { runInEtc } from "./own-etc.ts";

const ROOTS = [process.env["POSTERN_TEST_NETWORK_MANAGER"], "/opt/postern-test/network-manager", "/"];
const DAEMON = "usr/sbin/NetworkManager";
/**
 * It keeps its state below /var/lib. Where /sys can be written it takes the machine for a host with udev, and waits
 * for that to tell it of each device: in a container, where it cannot be written, it does without.
 */
const ITS_FOLDERS = `mkdir -p /run/lib && mount --bind /run/lib /var/lib && mount --bind /run/etc /etc &&
mount -o remount,ro,bind /sys && exec "$@"`;
const PROFILE = "etc/NetworkManager/system-connections/wan.nmconnection";

/** Where it is unpacked or installed; `undefined`: nowhere. */
export function findNetworkManager(): string | undefined {
  return ROOTS.find((root) => root !== undefined && root !== "" && existsSync(join(root, DAEMON)));
}

export interface NetworkManagerOptions {
  /** `default`: it writes /etc/resolv.conf itself. */
  readonly dns: "default" | "systemd-resolved";
  /** Of the device that it manages, which is called `wan`. */
  readonly addresses: readonly { readonly address: string; readonly router: string }[];
  readonly server: string;
  readonly searchDomain: string;
  /** A device that it does not touch. */
  readonly unmanaged?: string;
}

export interface NetworkManager {
  readonly child: Child;
  /** Runs nmcli to its end; what it prints. @throws PosternError when it fails */
  nmcli(...args: readonly string[]): Promise<string>;
}

/** Resolves when it has taken `wan`. The machine needs an /etc and a bus (`own-etc.ts`). */
export async function startNetworkManager(
  where: Namespace,
  options: NetworkManagerOptions,
): Promise<NetworkManager> {
  const root = findNetworkManager();
  if (root === undefined) throw new Error("NetworkManager is not there");
  mkdirSync(join(where.runFolder, PROFILE, ".."), { recursive: true });
  writeFileSync(join(where.runFolder, "etc/NetworkManager/NetworkManager.conf"), configuration(options));
  // It reads none that others than root could read.
  writeFileSync(join(where.runFolder, PROFILE), profile(options), { mode: 0o600 });
  const args = ["-c", ITS_FOLDERS, "sh", join(root, DAEMON), "--debug"];
  const child = where.start({ name: "NetworkManager", command: "sh", args });
  const nmcli: NetworkManager["nmcli"] = (...rest) => runInEtc(where, join(root, "usr/bin/nmcli"), ...rest);
  await eventually(async () => {
    const state = await nmcli("-t", "-f", "RUNNING,STATE,STARTUP", "general");
    if (!state.startsWith("running:connected") || !state.trim().endsWith(":started")) throw new Error(state);
  }, 20_000);
  // A device with addresses is left to whoever gave them until it is told to take it; after a restart it knows it as its own.
  const devices = await nmcli("-t", "-f", "DEVICE,STATE", "device");
  if (!/^wan:connected$/m.test(devices)) await nmcli("connection", "up", "wan");
  return { child, nmcli };
}

/** By `symlink` it writes a plain file in its place, and leaves a link of others alone. */
function configuration({ dns, unmanaged }: NetworkManagerOptions): string {
  const main = [
    "plugins=keyfile",
    `dns=${dns}`,
    `rc-manager=${dns === "default" ? "symlink" : "unmanaged"}`,
    "no-auto-default=*",
    "auth-polkit=false",
  ];
  const keyfile =
    unmanaged === undefined ? [] : ["[keyfile]", `unmanaged-devices=interface-name:${unmanaged}`];
  return `${["[main]", ...main, ...keyfile].join("\n")}\n`;
}

function profile({ addresses, server, searchDomain }: NetworkManagerOptions): string {
  const own = (isIpv6: boolean): readonly string[] =>
    addresses
      .filter(({ address }) => address.includes(":") === isIpv6)
      .map(({ address, router }, index) => `address${index + 1}=${address},${router}`);
  const lines = [
    ...["[connection]", "id=wan", "type=ethernet", "interface-name=wan"],
    ...["[ipv4]", "method=manual", ...own(false), `dns=${server};`, `dns-search=${searchDomain};`],
    ...["[ipv6]", "method=manual", ...own(true)],
  ];
  return `${lines.join("\n")}\n`;
}
