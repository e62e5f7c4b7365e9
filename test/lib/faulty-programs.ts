/**
 * Client, gateway, relay and `postern wg` whose own thread meets calls that fail (TS-64): an office, and beside it a
 * machine for each of the other two.
 */
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { buildWith, type ChangedBuild } from "./changed-build.ts";
import { captureHost, type HostSnapshot } from "./leftovers.ts";
import { API_URL, createOffice, type Office } from "./office.ts";
import { makeEtc } from "./own-etc.ts";

export type Role = "wg" | "client" | "gateway" | "relay";
export const ROLES: readonly Role[] = ["wg", "client", "gateway", "relay"];

export interface FaultyPrograms {
  readonly office: Office;
  hostOf(role: Role): Namespace;
  /** Starts one; those that can end by themselves once they are ready do so with `--exit`. */
  start(role: Role, faults: string, ...args: readonly string[]): Child;
  /** From now on a program that was started with `late` meets its faults. */
  begin(role: Role): void;
  /** What a program may have left on its host, with the file of name servers and what wg sets. */
  stateOf(role: Role): Promise<HostState>;
  close(): Promise<void>;
}

export interface HostState extends HostSnapshot {
  readonly resolvConf: string;
  readonly sourceMark: string;
}

/** What is said instead of `faults` by who wants them to begin later. */
const LATE = "late:";
export const late = (faults: string): string => `${LATE}${faults}`;

const WG = `[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
ListenPort = 51820
Address = 10.8.0.1/24, fd08::1/64
[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
AllowedIPs = 10.9.0.0/16, 0.0.0.0/0, ::/0
`;
const SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SOURCE_MARK = "/proc/sys/net/ipv4/conf/all/src_valid_mark";
const NAME_SERVERS = "nameserver 192.0.2.53\noptions timeout:1\n";

export async function createFaultyPrograms(): Promise<FaultyPrograms> {
  const faulty: ChangedBuild = buildWith("main", "faulty-control.mjs");
  const office = await createOffice();
  const [wg, relay] = [await office.lab.add("lone"), await office.lab.add("relay")];
  for (const alone of [wg, relay]) await alone.ip("link set lo up");
  await relay.ip("addr add 198.51.100.7/32 dev lo");
  const hosts: Readonly<Record<Role, Namespace>> = {
    ...{ wg, relay, client: office.client, gateway: office.gateway },
  };
  writeSecret(join(wg.runFolder, "wg0.conf"), WG);
  writeSecret(join(relay.runFolder, "secret"), SECRET);
  writeFileSync(join(makeEtc(office.client), "resolv.conf"), NAME_SERVERS);
  // Otherwise the first gateway changes it for good (PG-15).
  await office.gateway.sysctl("net/ipv6/conf/all/forwarding", "1");
  const beginOf = (role: Role): string => join(hosts[role].runFolder, "begin");

  return {
    office,
    hostOf: (role) => hosts[role],
    start(role, faults, ...args) {
      const isLate = faults.startsWith(LATE);
      if (isLate) rmSync(beginOf(role), { force: true });
      const env = {
        // It lies in the machine's /etc, which the client does not see.
        NODE_EXTRA_CA_CERTS: "",
        POSTERN_TEST_CONTROL_FAULTS: isLate ? faults.slice(LATE.length) : faults,
        ...(isLate && { POSTERN_TEST_CONTROL_FAULTS_FROM: "/run/begin" }),
        ...(role === "client" || role === "gateway" ? { POSTERN_TOKEN: office.tokens[role] } : {}),
      };
      return office.postern(hosts[role], [...COMMANDS[role], ...args], env, faulty.main);
    },
    begin: (role) => writeFileSync(beginOf(role), ""),
    async stateOf(role) {
      const host = hosts[role];
      const file = join(host.runFolder, "etc/resolv.conf");
      const state = await captureHost(host);
      // The backup of name servers stays, since a loss of power may undo what is written last (DN-105).
      const isOurs = (path: string): boolean => path === beginOf(role) || path.endsWith(".before-postern");
      return {
        ...state,
        runFiles: state.runFiles.filter((path) => !isOurs(path)),
        resolvConf: existsSync(file) ? readFileSync(file, "utf8") : "",
        // A gateway leaves it as it was set (PG-15).
        sourceMark: role === "wg" ? (await host.run("cat", [SOURCE_MARK])).trim() : "",
      };
    },
    async close() {
      await office.close();
      faulty.remove();
    },
  };
}

const COMMANDS: Readonly<Record<Role, readonly string[]>> = {
  wg: ["wg", "/run/wg0.conf"],
  client: ["client", "--api-url", API_URL, "--id", "faulty-client", "--dns-control", "etc-resolv-conf"],
  gateway: ["gateway", "--api-url", API_URL, "--id", "faulty-gateway"],
  relay: [
    ...["relay", "--stand-alone", "--stamp-secret-path", "/run/secret"],
    ...["--public-ip4", "198.51.100.7", "--bind-ip4", "198.51.100.7"],
  ],
};

function writeSecret(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o600);
}

/** Which faults have struck, by their names. */
export function struck(program: Child): readonly string[] {
  return [...program.stderr().matchAll(/^fault: (.*): \d+$/gm)].map(([, names = ""]) => names);
}

/** What a program said for people, at its end. */
export function lastWords(program: Child): readonly string[] {
  return program
    .stderr()
    .split("\n")
    .filter((line) => line !== "" && !/^(\d{4}-.* (DEBUG|INFO|WARN|ERROR) |fault: |calls: )/.test(line));
}
