import { describe, expect, it } from "vitest";
import { unixMs } from "../../../src/base/index.ts";
import {
  createStateBuilder,
  parseChanges,
  parseDocument,
  type StateChange,
  toChangesText,
} from "../../../src/portal/server/index.ts";

const KEY = Buffer.alloc(32, 7).toString("base64");
const PEER = {
  id: "p1",
  ownerId: "actor",
  tokenHash: "ab",
  externalId: "external",
  name: "büro 1",
  publicKey: KEY,
  pskBase: KEY,
  ipv4: "100.64.0.1",
  ipv6: "fd00:2021:1111::1",
  version: "1.5.0",
  remote: "2001:db8::1",
  device: { device_serial: "x" },
  isHardwareChanged: false,
  seenAt: unixMs(5),
};
const RECORD = {
  cid: "c",
  gid: "g",
  rid: "r",
  policyId: "p",
  tokenHash: "t",
  identity: "i",
  basis: "b",
  expiresAt: unixMs(9),
};
const { expiresAt: _, ...FOREVER } = RECORD;

/** Every kind of record, there and gone. */
const CHANGES: readonly StateChange[] = [
  { kind: "device", key: "p1", value: PEER },
  { kind: "device", key: "p2" },
  { kind: "gateway", key: "p1", value: PEER },
  { kind: "gateway", key: "p2" },
  { kind: "authorization", key: "a", value: RECORD },
  { kind: "authorization", key: "b", value: FOREVER },
  { kind: "authorization", key: "c" },
  { kind: "rejection", key: "c|r", value: { cid: "c", rid: "r", at: unixMs(1) } },
  { kind: "rejection", key: "d|r" },
];

describe("changes as text", () => {
  it("PT-115: are read back as they were written, one line each", () => {
    const line = toChangesText(CHANGES);
    expect(line.indexOf("\n")).toBe(line.length - 1);
    expect(parseChanges(line)).toEqual({ ok: true, value: CHANGES });
  });

  it.each([
    ["", "it is not JSON"],
    ["{}", "Array"],
    ["[{}]", "0.kind"],
    ['[{"kind":"device"}]', "0.key"],
    ['[{"kind":"device","key":"k","value":{}}]', "0.value: not a whole peer"],
    ['[{"kind":"authorization","key":"k","value":{"cid":"c"}}]', "0.value.gid"],
    ['[{"kind":"other","key":"k"}]', "0.kind"],
  ])("PT-115: %j is refused, never half read", (text, reason) => {
    expect(parseChanges(text)).toEqual({ ok: false, reason: expect.stringContaining(reason) });
  });

  it.each<[string, unknown]>([
    ["no id", undefined],
    ["seenAt", 1.5],
    ["publicKey", KEY.slice(4)],
    ["pskBase", KEY.replace(/.=$/, "B=")],
    ["ipv4", "100.64.0"],
    ["remote", 5],
    ["device", { device_serial: 5 }],
    ["device", null],
    ["isHardwareChanged", 0],
  ])("PT-115: a peer whose %s is %j is refused", (name, value) => {
    const faulty = { ...PEER, [name === "no id" ? "id" : name]: value };
    expect(parseChanges(JSON.stringify([{ kind: "device", key: "p1", value: faulty }])).ok).toBe(false);
  });

  it("PT-115: the same ones twice, or over a state that has them already, change nothing", () => {
    const once = createStateBuilder();
    for (const change of CHANGES) once.apply(change);
    const twice = createStateBuilder(once.state());
    for (const change of [...CHANGES, ...CHANGES]) twice.apply(change);
    expect(twice.state().devices).toEqual([PEER]);
    expect(twice.state().rejections).toHaveLength(1);
  });
});

describe("the document of earlier versions", () => {
  it("PT-115: is read; what it did not know is empty", () => {
    const { tokenHash: _hash, seenAt: _at, ...rest } = PEER;
    const text = JSON.stringify({
      version: 1,
      devices: [rest],
      gateways: [],
      authorizations: [RECORD],
      rejections: [],
    });
    expect(parseDocument(text)).toEqual({
      ok: true,
      value: {
        devices: [{ ...PEER, tokenHash: "", seenAt: 0 }],
        gateways: [],
        authorizations: [RECORD],
        rejections: [],
      },
    });
  });

  it.each([
    ["", "it is not JSON"],
    ["{}", "version"],
    ['{"version":2}', "version"],
    [
      '{"version":1,"devices":[{}],"gateways":[],"authorizations":[],"rejections":[]}',
      "devices.0: not a whole peer",
    ],
  ])("PT-115: %j is refused, never taken for a fresh one", (text, reason) => {
    expect(parseDocument(text)).toEqual({ ok: false, reason: expect.stringContaining(reason) });
  });
});
