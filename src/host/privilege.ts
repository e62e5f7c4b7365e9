/** Whether the process may set up networks (PG-11). */
import { readFileSync } from "node:fs";
import { PosternError } from "../base/index.ts";

const CAP_NET_ADMIN = 12n;

/** Reads `/proc/self/status`: root, or the effective capability. */
export function isPrivileged(status: string): boolean {
  const effectiveUid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const capabilities = /^CapEff:\s+([0-9a-fA-F]+)/m.exec(status)?.[1] ?? "0";
  return effectiveUid === "0" || ((BigInt(`0x${capabilities}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

/** @throws PosternError `privilege` */
export function requirePrivilege(command: string): void {
  if (isPrivileged(readFileSync("/proc/self/status", "utf8"))) return;
  throw new PosternError(
    "privilege",
    `${command} needs root or CAP_NET_ADMIN`,
    "run it as root, or by setpriv with --inh-caps +net_admin --ambient-caps +net_admin",
  );
}
