/**
 * What a test needs of the machine. A missing thing skips it visibly, with the reason in its name
 * (TS-69); what `POSTERN_TEST_REQUIRE` lists may not be missing, so there the test fails (TS-70).
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { describe } from "vitest";
import { findHelper } from "../../src/host/index.ts";
import { missingForLab } from "../../src/program/lab/index.ts";
import { findNetworkManager } from "./network-manager.ts";
import { findPostgresql } from "./postgresql.ts";
import { findResolved } from "./resolved.ts";
import { findRuntime } from "./runtimes.ts";

/** The last of the users that every system has. */
const NOBODY = 65_534;

const REASONS = {
  root: () => (process.geteuid?.() === 0 ? undefined : "needs root or user namespaces"),
  users: () => (hasOtherUsers() ? undefined : "needs root of the machine, who may become another user"),
  netns: () => (missingForLab() === undefined ? undefined : "needs ip and the right to make namespaces"),
  tun: () => (isWritable("/dev/net/tun") ? undefined : "no usable /dev/net/tun"),
  ipv6: () => (existsSync("/proc/sys/net/ipv6") ? undefined : "no IPv6"),
  nft: () => needProgram("nft"),
  openssl: () => needProgram("openssl"),
  iperf3: () => needProgram("iperf3"),
  "wireguard-go": () => needProgram("wireguard-go"),
  coturn: () => needProgram("turnserver"),
  postgresql: () => (findPostgresql() === undefined ? "postgresql not installed" : undefined),
  openvpn: () => needProgram("openvpn"),
  wg: () => needProgram("wg"),
  dig: () => needProgram("dig"),
  unbound: () => needProgram("unbound"),
  resolved: () =>
    findResolved() === undefined ? "systemd-resolved not unpacked" : needProgram("dbus-daemon"),
  "network-manager": () =>
    findNetworkManager() === undefined ? "network-manager not unpacked" : needProgram("dbus-daemon"),
  sshd: () => needProgram("sshd"),
  tracepath: () => needProgram("tracepath"),
  traceroute: () => needProgram("traceroute"),
  dnsmasq: () => needProgram("dnsmasq"),
  musl: () => needProgram("musl-gcc") ?? needProgram("gcc"),
  chromium: () => needProgram("chromium-headless-shell"),
  turnutils: () => needProgram("turnutils_uclient"),
  deno: () =>
    findRuntime("deno") === undefined ? "no deno in runtime/deno, the path or POSTERN_TEST_DENO" : undefined,
  bun: () =>
    findRuntime("bun") === undefined ? "no bun in runtime/bun, the path or POSTERN_TEST_BUN" : undefined,
  registry: () => (hasRegistry() ? undefined : "no npm registry in reach"),
  build: () => (existsSync("build/program/main.js") ? undefined : "needs npm run build"),
} satisfies Record<string, () => string | undefined>;

export type Requirement = keyof typeof REASONS;

/** Why a test with these requirements cannot run here; `undefined` when it can. */
export function missingRequirement(needs: readonly Requirement[]): string | undefined {
  for (const need of needs) {
    const reason = REASONS[need]();
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** `describe` for tests with requirements. */
export function describeWith(needs: readonly Requirement[], name: string, body: () => void): void {
  const required = (process.env["POSTERN_TEST_REQUIRE"] ?? "").split(",");
  const optional = needs.filter((need) => !required.includes(need));
  const reason = missingRequirement(optional);
  if (reason === undefined) describe(name, body);
  else describe.skip(`${name} (${reason})`, body);
}

/** In a user namespace root is the only user (TS-76). */
function hasOtherUsers(): boolean {
  const ranges = readFileSync("/proc/self/uid_map", "utf8").trimEnd().split("\n");
  const users = ranges.reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2]), 0);
  return process.geteuid?.() === 0 && users > NOBODY;
}

/** Of a package that is needed anyway. */
function hasRegistry(): boolean {
  return spawnSync("npm", ["view", "valibot", "name"], { timeout: 20_000 }).status === 0;
}

function needProgram(name: string): string | undefined {
  return findHelper(name) === undefined ? `${name} not installed` : undefined;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
