/** Kernel parameters of this network namespace, by their files. */
import { readFileSync, writeFileSync } from "node:fs";
import { errnoName } from "../../bindings/linux/index.ts";

/** A parameter as its path below /proc/sys: `net/ipv4/ip_forward`. Interface names may hold dots. */
export type SysctlPath = `net/${string}`;

/** `undefined` when the kernel has no such parameter. */
export function readSysctl(path: SysctlPath): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** Writes a parameter; returns why it could not, `EROFS` for example. */
export function writeSysctl(path: SysctlPath, value: string): string | undefined {
  try {
    writeFileSync(`/proc/sys/${path}`, value);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return typeof code === "string" ? code : errnoName(0);
  }
}
