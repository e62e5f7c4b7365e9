/**
 * Notices a flood of initiations, and puts the filter of `guard/flood.ts` before the sockets while it lasts (PG-160).
 *
 * How many pass follows from how many came: half as many again as there are replies for.
 */
import { partOf, usedOf } from "../guard/budget";
import { passingOf, writeFilter } from "../guard/flood";
import { replyLimit } from "../guard/replies";
import { FLOOD_PERIOD_MS, Ingress, PLANE_ADDRESS, Plane, SHARE_REPLY, Worker } from "../layout";
import { SO_ATTACH_FILTER, SO_DETACH_FILTER, SOL_SOCKET } from "../linux";
import { sysSetsockopt } from "../sys";

/** Behind the struct sock_fprog, which has the number of instructions and their address. */
const PROGRAM_AT: usize = 16;

/** Now and then: whether a flood has begun, goes on or has ended. */
export function judgeFlood(worker: usize): void {
  // Also where nobody takes of a share: windows end, and say how many replies there are.
  usedOf(worker, SHARE_REPLY);
  const now = load<u64>(worker, Worker.NOW);
  const elapsed = now - load<u64>(worker, Ingress.FLOOD_SINCE);
  if (elapsed < FLOOD_PERIOD_MS) return;
  const replies = partOf(replyLimit(worker));
  const bare = load<u32>(worker, Ingress.FLOOD_PASSING);
  const stale = load<u32>(worker, Ingress.STALE_PASSING);
  const nextBare = passingOf(load<u32>(worker, Ingress.FLOOD_COUNT), elapsed, bare, replies);
  const nextStale = passingOf(load<u32>(worker, Ingress.STALE_COUNT), elapsed, stale, replies);
  store<u64>(worker, now, Ingress.FLOOD_SINCE);
  store<u32>(worker, 0, Ingress.FLOOD_COUNT);
  store<u32>(worker, 0, Ingress.STALE_COUNT);
  if ((nextBare | nextStale) != 0) filter(worker, nextBare, nextStale);
  else if (hasFilter(worker)) endFlood(worker);
  // What was dropped is told with the next receive.
  else store<u32>(worker, 0, Worker.IS_FILTERED);
}

export function hasFilter(worker: usize): bool {
  return (load<u32>(worker, Ingress.FLOOD_PASSING) | load<u32>(worker, Ingress.STALE_PASSING)) != 0;
}

/** Takes the filter away, if there is one. */
export function endFlood(worker: usize): void {
  if (!hasFilter(worker)) return;
  store<u32>(worker, 0, Ingress.FLOOD_PASSING);
  store<u32>(worker, 0, Ingress.STALE_PASSING);
  sysSetsockopt(load<i32>(worker, Worker.UDP4), SOL_SOCKET, SO_DETACH_FILTER, worker + Worker.TIME, 4);
  sysSetsockopt(load<i32>(worker, Worker.UDP6), SOL_SOCKET, SO_DETACH_FILTER, worker + Worker.TIME, 4);
}

function filter(worker: usize, bare: u32, stale: u32): void {
  const is4 = attach(worker, load<i32>(worker, Worker.UDP4), false, bare, stale);
  const is6 = attach(worker, load<i32>(worker, Worker.UDP6), true, bare, stale);
  if (!is4 && !is6) return;
  store<u32>(worker, bare, Ingress.FLOOD_PASSING);
  store<u32>(worker, stale, Ingress.STALE_PASSING);
  store<u32>(worker, 1, Worker.IS_FILTERED);
}

function attach(worker: usize, fd: i32, isV6: bool, bare: u32, stale: u32): bool {
  if (fd < 0) return false;
  // Between two receives the input buffer is free.
  const at = load<usize>(worker, Worker.INPUT);
  const instructions = writeFilter(at + PROGRAM_AT, isV6, bare, stale);
  store<u64>(at, <u64>instructions);
  store<u64>(at, load<u64>(PLANE_ADDRESS, Plane.BASE) + <u64>(at + PROGRAM_AT), 8);
  return instructions != 0 && sysSetsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, at, <u32>PROGRAM_AT) == 0;
}
