/** DNS over TCP, at either end: each message behind its length (RFC 1035 §4.2.2). */
import { concatBytes } from "../../../src/base/index.ts";
import { TCP_LENGTH_BYTES } from "../../../src/dns/index.ts";

export function framed(message: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(message.length >> 8, message.length), message);
}

/** Takes octets as they come, and gives the messages that are whole. */
export function createUnframer(): (bytes: Uint8Array) => readonly Uint8Array[] {
  let unread: Uint8Array = new Uint8Array(0);
  return (bytes) => {
    const whole: Uint8Array[] = [];
    unread = concatBytes(unread, bytes);
    for (;;) {
      const [high = 0, low = 0] = unread;
      const end = TCP_LENGTH_BYTES + ((high << 8) | low);
      if (unread.length < TCP_LENGTH_BYTES || unread.length < end) return whole;
      whole.push(unread.slice(TCP_LENGTH_BYTES, end));
      unread = unread.slice(end);
    }
  };
}
