/**
 * Cookies (WireGuard paper §5.4.7, WG-33), made and checked where strangers arrive: control sees none of it.
 *
 * The secret behind them is new in every period of COOKIE_PERIOD_MS. It is made from the guard's own secret
 * and the number of the period, so that nobody needs to wake up for it. Cookies and MACs are compared with `src/wireguard/noble-crypto.ts`.
 */
import { isMac, MAC_BYTES, mac } from "../crypto/blake2s";
import { sealCookie } from "../crypto/xaead";
import { CookieReply, Handshake } from "../header";
import {
  COOKIE_PERIOD_MS,
  COOKIE_REPLY_BYTES,
  Guard,
  Ingress,
  KEY_BYTES,
  MESSAGE_COOKIE,
  REPLIES_MAX,
  Worker,
} from "../layout";

/** Where the cookie of the batch's source lies: MAC(secret of the period, address and port). */
export function cookieOf(worker: usize, guard: usize): usize {
  const scratch = worker + Ingress.MAC_SCRATCH;
  const secret = worker + Ingress.COOKIE_SECRET;
  const source = worker + Ingress.COOKIE_SOURCE;
  const cookie = worker + Ingress.COOKIE;
  store<u64>(source, load<u64>(worker, Worker.NOW) / COOKIE_PERIOD_MS);
  v128.store(secret, mac(guard + Guard.SECRET, KEY_BYTES, source, 8, scratch));
  const addressBytes = load<u32>(worker, Worker.FROM_BYTES);
  v128.store(source, v128.load(worker, Worker.FROM));
  const port = bswap<u16>(<u16>load<u32>(worker, Worker.FROM_PORT));
  store<u16>(source + <usize>addressBytes, port);
  v128.store(cookie, mac(secret, MAC_BYTES, source, addressBytes + 2, scratch));
  return cookie;
}

/** Whether mac2 of the message with `signed` bytes before it was made with the source's cookie (WG-7). */
export function hasValidMac2(worker: usize, cookie: usize, at: usize, signed: u32): bool {
  const expected = mac(cookie, MAC_BYTES, at, signed, worker + Ingress.MAC_SCRATCH);
  return isMac(expected, at + <usize>signed);
}

/**
 * Writes the cookie reply to the message at `at`, whose mac1 lies behind `signed` bytes, to the list that the
 * loop sends to the batch's source. Returns false if the list is full.
 */
export function replyWithCookie(worker: usize, guard: usize, cookie: usize, at: usize, signed: u32): bool {
  const listed = load<u32>(worker, Ingress.REPLY_COUNT);
  if (listed == REPLIES_MAX) return false;
  const reply = worker + Ingress.REPLIES + <usize>(listed * COOKIE_REPLY_BYTES);
  store<u32>(reply, MESSAGE_COOKIE);
  store<u32>(reply, load<u32>(at, Handshake.SENDER), CookieReply.RECEIVER);
  // Public and never used twice: random bytes that control drew for this guard, and a counter.
  const nonce = reply + CookieReply.NONCE;
  const counter = load<u64>(worker, Ingress.REPLY_COUNTER);
  store<u64>(worker, counter + 1, Ingress.REPLY_COUNTER);
  v128.store(nonce, v128.load(guard, Guard.NONCE));
  store<u64>(nonce, counter, 16);
  const mac1 = at + <usize>signed;
  const scratch = worker + Ingress.MAC_SCRATCH;
  sealCookie(guard + Guard.COOKIE_KEY, nonce, mac1, cookie, reply + CookieReply.COOKIE, scratch);
  store<u32>(worker, listed + 1, Ingress.REPLY_COUNT);
  return true;
}
