/**
 * What goes on with DF: checks of a path's size (SN-151), whose answers say what the path carries whole (RL-50).
 * All else may be cut up on the way, since nobody could tell its sender that it must be shorter. Such checks
 * are few: the socket is set for one send, and back. The twin: `test/twin/relay/relay.ts`.
 */
import { Forward, RELAY_WHOLE_BYTES, Worker } from "../layout";
import {
  IP_MTU_DISCOVER,
  IP_PMTUDISC_OMIT,
  IP_PMTUDISC_PROBE,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
} from "../linux";
import { sysSetsockopt } from "../sys";
import { flush } from "./transmit";

/** As it is read from memory (RFC 8489 §5). */
const MAGIC_COOKIE: u32 = 0x42a41221;
const MAGIC_COOKIE_AT: usize = 4;
const STUN_LAST: u32 = 0x03;
const OPTION_BYTES: u32 = 4;

/** Whether the data of a datagram, of which `bytes` are there, is STUN that is longer than any path needs. */
export function isSizeCheck(at: usize, bytes: u32): bool {
  if (bytes < RELAY_WHOLE_BYTES || <u32>load<u8>(at) > STUN_LAST) return false;
  return load<u32>(at, MAGIC_COOKIE_AT) == MAGIC_COOKIE;
}

/** Sends what waits, which is one datagram: those before it have gone. */
export function flushWhole(worker: usize, isV6: bool): void {
  const fd = load<i32>(worker, Forward.OUT_FD);
  setDiscovery(worker, fd, isV6, IP_PMTUDISC_PROBE);
  flush(worker);
  setDiscovery(worker, fd, isV6, IP_PMTUDISC_OMIT);
}

/** What the other worker or control sends in this moment goes with DF, too, or without: that harms nobody. */
function setDiscovery(worker: usize, fd: i32, isV6: bool, value: i32): void {
  store<i32>(worker, value, Worker.VECTOR);
  const level = isV6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const name = isV6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER;
  sysSetsockopt(fd, level, name, worker + Worker.VECTOR, OPTION_BYTES);
}
