/** Control events inside the tunnel: IPv6, `::` to `::`, next header 255 (TN-40 to TN-44). */
import { malformed, type Parsed, parsed } from "../base/index.ts";

const HEADER_BYTES = 40;
const EVENT_HEADER_BYTES = 8;
const PROTOCOL = 255;

/** The events of TN-40. Those about DNS resources are recognised and have no effect yet. */
export type ControlEvent =
  | { readonly kind: "goodbye" }
  | { readonly kind: "assigned-ips" | "domain-status"; readonly json: Uint8Array };

export type MalformedControlEvent = "short" | "unknown-event";

/** Whether a validated IP packet is a control event: only the program itself may make these. */
export function isControlEvent(packet: Uint8Array): boolean {
  return (
    (packet[0] ?? 0) >> 4 === 6 &&
    packet[6] === PROTOCOL &&
    packet.subarray(8, 40).every((byte) => byte === 0)
  );
}

/** Reads a packet for which `isControlEvent` holds (TN-44). */
export function parseControlEvent(packet: Uint8Array): Parsed<ControlEvent, MalformedControlEvent> {
  if (packet.length < HEADER_BYTES + EVENT_HEADER_BYTES) return malformed("short");
  const json = packet.slice(HEADER_BYTES + EVENT_HEADER_BYTES);
  switch (packet[HEADER_BYTES]) {
    case 0:
      return parsed({ kind: "assigned-ips", json });
    case 1:
      return parsed({ kind: "domain-status", json });
    case 2:
      return parsed({ kind: "goodbye" });
    default:
      return malformed("unknown-event");
  }
}

/** *Goodbye*: 48 bytes (TN-43). */
export function encodeGoodbye(): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(HEADER_BYTES + EVENT_HEADER_BYTES);
  packet.set([0x60, 0, 0, 0, 0, EVENT_HEADER_BYTES, PROTOCOL]);
  packet[HEADER_BYTES] = 2;
  return packet;
}
