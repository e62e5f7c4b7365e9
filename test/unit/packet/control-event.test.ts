import { describe, expect, it } from "vitest";
import { ip, toHex } from "../../../src/base/index.ts";
import {
  encodeAssignedIps,
  encodeDomainStatus,
  encodeGoodbye,
  isControlEvent,
  type MalformedControlEvent,
  parseControlEvent,
} from "../../../src/packet/control-event.ts";

const RID = "00000000-0000-0000-0000-000000000065";
const PROXIES = [
  "100.96.0.1",
  "100.96.0.2",
  "100.96.0.3",
  "100.96.0.4",
  "fd00:2021:1111:8000::",
  "fd00:2021:1111:8000::1",
  "fd00:2021:1111:8000::2",
  "fd00:2021:1111:8000::3",
];
const ASSIGNED = { rid: RID, domain: "example.com", proxies: PROXIES.map(ip) };

/** The header of TN-41's example followed by an event byte and JSON. */
function event(type: number, json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const packet = new Uint8Array(48 + text.length);
  packet.set([0x60, 0, 0, 0, (8 + text.length) >> 8, 8 + text.length, 255, 0]);
  packet[40] = type;
  packet.set(text, 48);
  return packet;
}

describe("control events", () => {
  it("TN-41: assigned IPs as in the example: 287 bytes", () => {
    const packet = encodeAssignedIps(ASSIGNED);
    const json = `{"resource":"${RID}","domain":"example.com","proxy_ips":${JSON.stringify(PROXIES)}}`;
    expect(packet).toEqual(event(0, json));
    expect(packet).toHaveLength(287);
    expect(toHex(packet.subarray(0, 8))).toBe("6000000000f7ff00");
    expect(parseControlEvent(packet)).toEqual({ ok: true, value: { kind: "assigned-ips", ...ASSIGNED } });
  });

  it("TN-42: domain status as in the example: 140 bytes", () => {
    const packet = encodeDomainStatus({ rid: RID, domain: "example.com", isActive: true });
    expect(packet).toEqual(event(1, `{"resource":"${RID}","domain":"example.com","status":"Active"}`));
    expect(packet).toHaveLength(140);
    expect(toHex(packet.subarray(0, 8))).toBe("600000000064ff00");
    const value = { kind: "domain-status", rid: RID, domain: "example.com", isActive: true };
    expect(parseControlEvent(packet)).toEqual({ ok: true, value });
  });

  it.each(["Inactive", "active", "", "Later"])("TN-42: the status '%s' counts as inactive", (status) => {
    const json = JSON.stringify({ resource: RID, domain: "example.com", status });
    expect(parseControlEvent(event(1, json))).toMatchObject({ ok: true, value: { isActive: false } });
  });

  it("TN-43: goodbye is 48 bytes, payload length 8, event 2", () => {
    const packet = encodeGoodbye();
    expect(packet).toEqual(event(2, ""));
    expect(isControlEvent(packet)).toBe(true);
    expect(parseControlEvent(packet)).toEqual({ ok: true, value: { kind: "goodbye" } });
  });

  it("TN-44: unknown keys are ignored, ids and names folded, padding behind the end cut off", () => {
    const json = JSON.stringify({
      later: [{}],
      resource: "0000ABCD-0000-0000-0000-000000000065",
      domain: "Example.COM",
      proxy_ips: ["100.96.0.1"],
    });
    const padded = new Uint8Array([...event(0, json), 0, 0, 0, 0, 0]);
    expect(parseControlEvent(padded)).toEqual({
      ok: true,
      value: {
        kind: "assigned-ips",
        rid: "0000abcd-0000-0000-0000-000000000065",
        domain: "example.com",
        proxies: [ip("100.96.0.1")],
      },
    });
  });

  const assigned = (change: object): Uint8Array =>
    event(0, JSON.stringify({ resource: RID, domain: "a.b", proxy_ips: [], ...change }));

  const MALFORMED = {
    short: [event(2, "").subarray(0, 47)],
    "unknown-event": [event(3, "")],
    "bad-json": [
      event(0, "{"),
      event(0, ""),
      event(0, "7"),
      event(0, "null"),
      event(0, "[".repeat(200)),
      event(1, JSON.stringify({ resource: RID, domain: "a.b" })),
      event(1, JSON.stringify({ resource: RID, domain: "a.b", status: 1 })),
    ],
    "bad-id": [assigned({ resource: undefined }), assigned({ resource: "65" }), assigned({ resource: 65 })],
    "bad-name": [assigned({ domain: "" }), assigned({ domain: "a b" }), assigned({ domain: "\u00fc" })],
    "bad-address": [
      assigned({ proxy_ips: undefined }),
      assigned({ proxy_ips: ["100.96.0.256"] }),
      assigned({ proxy_ips: [1] }),
      assigned({ proxy_ips: "100.96.0.1" }),
    ],
  } satisfies Record<MalformedControlEvent, readonly Uint8Array[]>;

  it.each(Object.entries(MALFORMED))("TN-44: %s is ignored under its reason", (reason, packets) => {
    for (const packet of packets) expect(parseControlEvent(packet)).toEqual({ ok: false, reason });
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
