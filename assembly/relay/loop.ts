/**
 * The relay's two workers (RL-48): clients to peers, peers to clients, run to completion on batches. As in
 * `loop/egress.ts` the endless loops are tiny.
 */
import { readClock } from "../clock";
import { Forward, PLANE_ADDRESS, Plane, RELAY_EVENTS, Relay, Worker } from "../layout";
import { EINTR, POLLIN } from "../linux";
import { noteReceiveError } from "../loop/errno";
import { isBusy } from "../loop/pace";
import { beginBatch, beginLoop, expectBoth, isOver, isReady, park, unpark, waitFor } from "../loop/wait";
import { sysEpollWait, sysErrno, sysYield } from "../sys";
import { handleFromClient } from "./client";
import { handleFromPeer } from "./peer";
import { afterReceive, bytesOfMessage, receiveMany, wasFull } from "./receive";
import { flush } from "./transmit";

/** The clock is read after every wait, and every so many turns. */
const CLOCK_EVERY: u32 = 16;
/** Receives of one socket in a row (RL-53). */
const SHARE: u32 = 4;

/** Runs until it is stopped or its descriptors fail. Returns ENDED_…. */
export function relayClientLoop(worker: usize): u32 {
  beginLoop(worker);
  while (relayClientTurn(worker)) {}
  park(worker);
  return load<u32>(worker, Worker.ENDED);
}

export function relayPeerLoop(worker: usize): u32 {
  beginLoop(worker);
  while (relayPeerTurn(worker)) {}
  park(worker);
  return load<u32>(worker, Worker.ENDED);
}

/** The share of each family that has something, and a wait when no more is known to be there. */
export function relayClientTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  begin(worker);
  const hasMore4 = isReady(worker, 0) && receiveFromClients(worker, false);
  const hasMore6 = isReady(worker, 1) && receiveFromClients(worker, true);
  if (hasMore4 || hasMore6) expectBoth(worker);
  else rest(worker, load<i32>(worker, Worker.UDP4), load<i32>(worker, Worker.UDP6));
  return true;
}

/** All sockets that are ready, each with its share, and a wait when no more is known to be there. */
export function relayPeerTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  // The epoch is raised before the kernel is asked: a socket that control has taken out of epoll by then is
  // not in the answer, and one that is in it stays open until the next (RL-54).
  begin(worker);
  const relay = load<usize>(PLANE_ADDRESS, Plane.RELAY);
  const epoll = load<i32>(relay, Relay.EPOLL);
  const events = load<usize>(worker, Forward.EPOLL_EVENTS);
  const ready = sysEpollWait(epoll, events, RELAY_EVENTS, 0);
  if (ready < 0) handleEpollError(worker, sysErrno());
  let hasMore = ready == <i32>RELAY_EVENTS;
  const eventBytes = load<u32>(relay, Relay.EPOLL_EVENT_BYTES);
  const dataAt = load<u32>(relay, Relay.EPOLL_DATA_AT);
  for (let i: i32 = 0; i < ready; i++) {
    const data = load<u64>(events + <usize>(<u32>i * eventBytes + dataAt));
    if (receiveFromPeers(worker, <i32>data, <u32>(data >> 32))) hasMore = true;
  }
  if (!hasMore) rest(worker, epoll, -1);
  return true;
}

/** What begins a turn: tables may have changed, and time passes even for who never waits. */
function begin(worker: usize): void {
  beginBatch(worker);
  if (load<u32>(worker, Worker.EPOCH) % CLOCK_EVERY == 0) readClock(worker);
}

/** A broken epoll would neither tell of datagrams nor let the worker sleep: as with a broken socket, the end. */
function handleEpollError(worker: usize, error: i32): void {
  if (error != EINTR) noteReceiveError(worker, error);
}

/**
 * Until something comes. Whether it is there already, and in which socket, poll tells for less than receives that
 * find nothing.
 */
function rest(worker: usize, first: i32, second: i32): void {
  // What comes fast comes together then: single datagrams at 0.5 to 0.8 of the processor time (PF-74).
  if (isBusy(worker)) sysYield();
  park(worker);
  if (!isOver(worker)) waitFor(worker, first, second, POLLIN);
  unpark(worker);
}

/** Returns whether more may wait. */
function receiveFromClients(worker: usize, isV6: bool): bool {
  const fd = load<i32>(worker + (isV6 ? Worker.UDP6 : Worker.UDP4));
  if (fd < 0) return false;
  const overflowAt = worker + (isV6 ? Worker.OVERFLOW6 : Worker.OVERFLOW);
  for (let i: u32 = 0; i < SHARE; i++) {
    const received = receiveMany(worker, fd);
    if (received == 0) return false;
    const isFull = wasFull(worker, received);
    let bytes: u32 = 0;
    for (let j: u32 = 0; j < received; j++) {
      bytes += bytesOfMessage(worker, j);
      handleFromClient(worker, j, overflowAt);
    }
    flush(worker);
    afterReceive(worker, received, bytes);
    if (!isFull) return false;
  }
  return true;
}

/** Returns whether more may wait. */
function receiveFromPeers(worker: usize, fd: i32, port: u32): bool {
  for (let i: u32 = 0; i < SHARE; i++) {
    const received = receiveMany(worker, fd);
    if (received == 0) return false;
    const isFull = wasFull(worker, received);
    let bytes: u32 = 0;
    for (let j: u32 = 0; j < received; j++) {
      bytes += bytesOfMessage(worker, j);
      handleFromPeer(worker, j, port);
    }
    flush(worker);
    afterReceive(worker, received, bytes);
    if (!isFull) return false;
  }
  return true;
}
