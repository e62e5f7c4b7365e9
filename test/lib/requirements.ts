/**
 * What a test needs of the machine. A missing thing skips it visibly, with the reason in its name
 * (TS-69); what `POSTERN_TEST_REQUIRE` lists may not be missing, so there the test fails (TS-70).
 */
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe } from "vitest";
import { missingForLab } from "../../src/program/lab/index.ts";

const REASONS = {
  root: () => (process.geteuid?.() === 0 ? undefined : "needs root or user namespaces"),
  netns: () => (missingForLab() === undefined ? undefined : "needs ip and the right to make namespaces"),
  tun: () => (isWritable("/dev/net/tun") ? undefined : "no usable /dev/net/tun"),
  ipv6: () => (existsSync("/proc/sys/net/ipv6") ? undefined : "no IPv6"),
  nft: () => needProgram("nft"),
  openssl: () => needProgram("openssl"),
  iperf3: () => needProgram("iperf3"),
  "wireguard-go": () => needProgram("wireguard-go"),
  wg: () => needProgram("wg"),
  build: () => (existsSync("build/src/cli/main.js") ? undefined : "needs npm run build"),
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

function needProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(join(folder, name))) ? undefined : `${name} not installed`;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
