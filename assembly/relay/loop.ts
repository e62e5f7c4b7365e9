/**
 * The relay's two workers (RL-48): clients to peers, peers to clients, run to completion on batches. As in
 * `loop/egress.ts` the endless loops are tiny.
 */
import { Forward, PLANE_ADDRESS, Plane, RELAY_EVENTS, Relay, Worker } from "../layout";
import { EINTR, POLLIN } from "../linux";
import { noteReceiveError } from "../loop/errno";
import { beginBatch, beginLoop, isOver, park, unpark, waitFor } from "../loop/wait";
import { sysEpollWait, sysErrno } from "../sys";
import { handleFromClient } from "./client";
import { handleFromPeer } from "./peer";
import { afterReceive, bytesOfMessage, receiveMany, wasFull } from "./receive";
import { flush } from "./transmit";

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

/** One family's share, or a wait. */
export function relayClientTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  beginBatch(worker);
  const isV6 = load<u32>(worker, Worker.IS_V6_TURN) != 0;
  store<u32>(worker, isV6 ? 0 : 1, Worker.IS_V6_TURN);
  if (receiveFromClients(worker, isV6)) {
    store<u32>(worker, 0, Worker.MISSES);
    return true;
  }
  const misses = load<u32>(worker, Worker.MISSES) + 1;
  store<u32>(worker, misses, Worker.MISSES);
  if (misses >= 2) rest(worker, load<i32>(worker, Worker.UDP4), load<i32>(worker, Worker.UDP6));
  return true;
}

/** All sockets that are ready, each with its share, or a wait. */
export function relayPeerTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  // The epoch is raised before the kernel is asked: a socket that control has taken out of epoll by then is
  // not in the answer, and one that is in it stays open until the next (RL-54).
  beginBatch(worker);
  const relay = load<usize>(PLANE_ADDRESS, Plane.RELAY);
  const epoll = load<i32>(relay, Relay.EPOLL);
  const events = load<usize>(worker, Forward.EPOLL_EVENTS);
  const ready = sysEpollWait(epoll, events, RELAY_EVENTS, 0);
  if (ready <= 0) {
    if (ready < 0) handleEpollError(worker, sysErrno());
    rest(worker, epoll, -1);
    return true;
  }
  const eventBytes = load<u32>(relay, Relay.EPOLL_EVENT_BYTES);
  const dataAt = load<u32>(relay, Relay.EPOLL_DATA_AT);
  for (let i: u32 = 0; i < <u32>ready; i++) {
    const data = load<u64>(events + <usize>(i * eventBytes + dataAt));
    receiveFromPeers(worker, <i32>data, <u32>(data >> 32));
  }
  return true;
}

/** A broken epoll would neither tell of datagrams nor let the worker sleep: as with a broken socket, the end. */
function handleEpollError(worker: usize, error: i32): void {
  if (error != EINTR) noteReceiveError(worker, error);
}

/** Nothing to do: until something comes. */
function rest(worker: usize, first: i32, second: i32): void {
  store<u32>(worker, 0, Worker.MISSES);
  park(worker);
  if (!isOver(worker)) waitFor(worker, first, second, POLLIN);
  unpark(worker);
}

/** Returns false if there was nothing. */
function receiveFromClients(worker: usize, isV6: bool): bool {
  const fd = load<i32>(worker + (isV6 ? Worker.UDP6 : Worker.UDP4));
  if (fd < 0) return false;
  const overflowAt = worker + (isV6 ? Worker.OVERFLOW6 : Worker.OVERFLOW);
  for (let i: u32 = 0; i < SHARE; i++) {
    const received = receiveMany(worker, fd);
    if (received == 0) return i != 0;
    const isFull = wasFull(worker, received);
    let bytes: u32 = 0;
    for (let j: u32 = 0; j < received; j++) {
      bytes += bytesOfMessage(worker, j);
      handleFromClient(worker, j, overflowAt);
    }
    flush(worker);
    afterReceive(worker, received, bytes);
    if (!isFull) return true;
  }
  return true;
}

function receiveFromPeers(worker: usize, fd: i32, port: u32): void {
  for (let i: u32 = 0; i < SHARE; i++) {
    const received = receiveMany(worker, fd);
    if (received == 0) return;
    const isFull = wasFull(worker, received);
    let bytes: u32 = 0;
    for (let j: u32 = 0; j < received; j++) {
      bytes += bytesOfMessage(worker, j);
      handleFromPeer(worker, j, port);
    }
    flush(worker);
    afterReceive(worker, received, bytes);
    if (!isFull) return;
  }
}
