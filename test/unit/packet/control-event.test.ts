import { describe, expect, it } from "vitest";
import { encodeGoodbye, isControlEvent, parseControlEvent } from "../../../src/packet/control-event.ts";

/** The header of TN-41's example followed by an event byte and JSON. */
function event(type: number, json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const packet = new Uint8Array(48 + text.length);
  packet.set([0x60, 0, 0, 0, 0, 8 + text.length, 255, 0]);
  packet[40] = type;
  packet.set(text, 48);
  return packet;
}

describe("control events", () => {
  it("TN-43: goodbye is 48 bytes, payload length 8, event 2", () => {
    const packet = encodeGoodbye();
    expect(packet).toEqual(event(2, ""));
    expect(isControlEvent(packet)).toBe(true);
    expect(parseControlEvent(packet)).toEqual({ ok: true, value: { kind: "goodbye" } });
  });

  it("TN-40: recognises the two DNS events with their JSON", () => {
    expect(parseControlEvent(event(0, "{}"))).toMatchObject({ ok: true, value: { kind: "assigned-ips" } });
    expect(parseControlEvent(event(1, "{}"))).toMatchObject({ ok: true, value: { kind: "domain-status" } });
  });

  it("TN-44: ignores a short payload and an unknown event, each under its reason", () => {
    expect(parseControlEvent(event(2, "").subarray(0, 47))).toEqual({ ok: false, reason: "short" });
    expect(parseControlEvent(event(3, ""))).toEqual({ ok: false, reason: "unknown-event" });
  });

  it("TN-40: another next header, or an address that is not ::, is no control event", () => {
    const otherProtocol = event(2, "");
    otherProtocol[6] = 254;
    const addressed = event(2, "");
    addressed[39] = 1;
    const v4 = event(2, "");
    v4[0] = 0x45;
    expect([otherProtocol, addressed, v4].map(isControlEvent)).toEqual([false, false, false]);
  });
});
