/** Packets that control gives up: counted, and at DEBUG said by whom and why, not more than can be read (TN-92). */
import { formatIp, type Instant, type Log } from "../base/index.ts";
import { createTokenBucket, type TokenBucket, viewPacket } from "../packet/index.ts";

/** Lines per second and reason. */
const LINES = { ratePerSecond: 10, burst: 10 };

/** By reason: what may still be said in this second. */
export type DropLines = Map<string, TokenBucket>;

export interface Dropping<Reason extends string> {
  readonly log: Log;
  readonly counters: Record<Reason, number>;
  readonly dropLines: DropLines;
}

/** @param ids `cid`, `gid`, `rid`, as far as they are known */
export function dropPacket<Reason extends string>(
  { log, counters, dropLines }: Dropping<Reason>,
  now: Instant,
  reason: Reason,
  packet: Uint8Array,
  ids: Readonly<Record<string, string | undefined>> = {},
): void {
  counters[reason]++;
  const { debug } = log;
  if (debug === undefined) return;
  const lines = dropLines.get(reason) ?? createTokenBucket(LINES);
  dropLines.set(reason, lines);
  if (!lines.take(now)) return;
  const { source, destination, protocol } = viewPacket(packet);
  debug("packet dropped", { reason, src: formatIp(source), dst: formatIp(destination), protocol, ...ids });
}
