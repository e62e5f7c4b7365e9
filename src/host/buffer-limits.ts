/** The system's limits on socket buffers, for processes that may not exceed them (PG-44). */
import type { Log } from "../base/index.ts";
import { readSysctl, type SysctlPath, writeSysctl } from "./sysctl.ts";

export interface BufferSizes {
  readonly sendBytes: number;
  readonly receiveBytes: number;
}

/** Raises limits that are lower than wanted; the sockets are to be opened after it. */
export function raiseBufferLimits(wanted: BufferSizes, log: Log): void {
  raise("net/core/wmem_max", wanted.sendBytes, log);
  raise("net/core/rmem_max", wanted.receiveBytes, log);
}

function raise(path: SysctlPath, wantedBytes: number, log: Log): void {
  const presentBytes = Number(readSysctl(path) ?? Number.POSITIVE_INFINITY);
  if (presentBytes >= wantedBytes) return;
  const reason = writeSysctl(path, String(wantedBytes));
  const parameter = path.replaceAll("/", ".");
  const event = reason === undefined ? "buffer limit raised" : "buffer limit not raised";
  log.info?.(event, { parameter, presentBytes, wantedBytes, ...(reason === undefined ? {} : { reason }) });
}
