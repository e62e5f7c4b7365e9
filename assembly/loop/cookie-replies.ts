/**
 * Cookie replies on their way out (WG-33): each a datagram of its own, to where its initiation came from, and from the
 * address that was asked. They go up to REPLIES_AT_ONCE at a time, by one system call, which costs a third of one for
 * each (PF-80); none waits longer than the worker stays with a socket. One that the kernel does not take at once is
 * given up: its initiator tries again.
 */
import { count } from "../counters";
import { Sockaddr } from "../header";
import { COOKIE_REPLY_BYTES, Counter, Ingress, REPLIES_AT_ONCE, WAITING_BYTES, Worker } from "../layout";
import { MMSGHDR_BYTES } from "../linux";
import { sysErrno, sysSendmmsg } from "../sys";
import { writeSource } from "./control-message";
import { countErrno } from "./errno";
import { nameOf, writeHeader, writeName } from "./message";

/** What each row of `Ingress.WAITING` has behind its struct iovec. */
const NAME: usize = 16;
const CONTROL: usize = 48;
const REPLY: usize = 96;

/** Keeps the replies to the receive at hand for the next call. */
export function keepReplies(worker: usize, fd: i32, isV6: bool): void {
  const listed = load<u32>(worker, Ingress.REPLY_COUNT);
  for (let i: u32 = 0; i < listed; i++) {
    const place = load<u32>(worker, Ingress.WAITING_COUNT);
    keep(worker, place, worker + Ingress.REPLIES + <usize>(i * COOKIE_REPLY_BYTES), isV6);
    store<u32>(worker, place + 1, Ingress.WAITING_COUNT);
    if (place + 1 == REPLIES_AT_ONCE) sendAll(worker, fd);
  }
  store<u32>(worker, 0, Ingress.REPLY_COUNT);
}

/** Sends what waits; all of it is of the family that the worker is with. */
export function sendReplies(worker: usize, isV6: bool): void {
  if (load<u32>(worker, Ingress.WAITING_COUNT) == 0) return;
  sendAll(worker, load<i32>(worker + (isV6 ? Worker.UDP6 : Worker.UDP4)));
}

function keep(worker: usize, place: u32, reply: usize, isV6: bool): void {
  const row = worker + Ingress.WAITING + <usize>(place * WAITING_BYTES);
  const header = worker + Ingress.WAITING_HEADERS + <usize>place * MMSGHDR_BYTES;
  const controlBytes = writeSource(row + CONTROL, 0, isV6, worker + Worker.LOCAL);
  memory.copy(row + REPLY, reply, COOKIE_REPLY_BYTES);
  memory.copy(row + NAME, nameOf(worker), Sockaddr.BYTES6);
  writeHeader(header, row, row + REPLY, COOKIE_REPLY_BYTES, row + CONTROL, controlBytes);
  writeName(header, row + NAME, isV6 ? Sockaddr.BYTES6 : Sockaddr.BYTES4);
}

function sendAll(worker: usize, fd: i32): void {
  const waiting = load<u32>(worker, Ingress.WAITING_COUNT);
  let first: u32 = 0;
  while (first < waiting) {
    const at = worker + Ingress.WAITING_HEADERS + <usize>first * MMSGHDR_BYTES;
    const sent = sysSendmmsg(fd, at, waiting - first, 0);
    if (sent > 0) {
      count(worker, Counter.COOKIES_SENT, <u64>sent);
      first += <u32>sent;
      continue;
    }
    countErrno(worker, Worker.SEND_ERRNOS, sysErrno());
    first += 1;
  }
  store<u32>(worker, 0, Ingress.WAITING_COUNT);
}
