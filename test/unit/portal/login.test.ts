import { describe, expect, it } from "vitest";
import {
  authorityOf,
  externalIdOf,
  parsePortalUrl,
  socketUrlOf,
  toHeaderText,
  userAgentOf,
} from "../../../src/portal/protocol/index.ts";
import { LOGIN } from "./connection-driver.ts";

function url(text: string) {
  const parsed = parsePortalUrl(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
}

describe("the portal's URL", () => {
  it.each([
    ["http://p.example", "ws", "p.example", 80, ""],
    ["ws://p.example:8080/", "ws", "p.example", 8080, ""],
    ["https://p.example", "wss", "p.example", 443, ""],
    ["wss://[2001:db8::1]:444/a/b/?token=x", "wss", "2001:db8::1", 444, "/a/b"],
  ])("PT-10: reads %s", (text, scheme, host, port, path) => {
    expect(url(text)).toEqual({ scheme, host, port, path });
  });

  it.each([
    ["p.example", "not-a-url"],
    ["", "not-a-url"],
    ["ftp://p.example", "bad-scheme"],
    ["file:///etc", "bad-scheme"],
    ["ws://", "not-a-url"],
  ])("PT-10: refuses %j as %s", (text, reason) => {
    expect(parsePortalUrl(text)).toEqual({ ok: false, reason });
  });

  it("PT-10: keeps the path, drops one trailing empty segment and the query", () => {
    const text = socketUrlOf(url("https://p.example/api/?x=1"), "gateway", LOGIN);
    expect(text.startsWith("wss://p.example/api/gateway/websocket?external_id=id-1&")).toBe(true);
    expect(text).not.toContain("x=1");
  });

  it("PT-11: sends hardware identifiers before the key", () => {
    const text = socketUrlOf(url("wss://p.example"), "client", {
      ...LOGIN,
      deviceSerial: "a b",
      deviceUuid: "u",
    });
    expect([...new URL(text).searchParams.keys()]).toEqual([
      "external_id",
      "name",
      "device_serial",
      "device_uuid",
      "public_key",
    ]);
    expect(text).toContain("device_serial=a+b&");
  });

  it.each([
    ["ws://h:80", "h"],
    ["ws://h:443", "h:443"],
    ["wss://h:443", "h"],
    ["wss://[::1]:8443", "[::1]:8443"],
  ])("PT-13: the Host of %s is %s", (text, host) => {
    expect(authorityOf(url(text))).toBe(host);
  });
});

describe("identity", () => {
  it.each([
    [
      "efc7a9e3-3576-4633-b633-7d47ba9e14ac",
      "59ad50c125a1733022c51dff1c7065c0f39a72810e51f05a20d946e849bc53b5",
    ],
    [
      "EFC7A9E3-3576-4633-B633-7D47BA9E14AC",
      "2606a54a327020a1285cc141aeceb5737a91625e5e1a85c234682266f45820bf",
    ],
  ])("PT-14: hides the UUID %s behind its hash", (id, external) => {
    expect(externalIdOf(id)).toBe(external);
  });

  it.each([
    "efc7a9e335764633b6337d47ba9e14ac",
    "{efc7a9e3-3576-4633-b633-7d47ba9e14ac}",
    "urn:uuid:efc7a9e3-3576-4633-b633-7d47ba9e14ac",
    "URN:UUID:efc7a9e3-3576-4633-b633-7d47ba9e14ac",
  ])("PT-14: knows the form %s, and hashes the text as it stands", (id) => {
    expect(externalIdOf(id)).toMatch(/^[0-9a-f]{64}$/);
    expect(externalIdOf(id)).not.toBe(externalIdOf("efc7a9e3-3576-4633-b633-7d47ba9e14ac"));
  });

  it.each(["laptop", "a".repeat(64), "{efc7a9e3-3576-4633-b633-7d47ba9e14ac", ""])(
    "PT-14: sends %j as it is",
    (id) => expect(externalIdOf(id)).toBe(id),
  );
});

describe("headers", () => {
  const PARTS = { os: "Debian", osVersion: "12", component: "gateway", release: "0.1.0" } as const;

  it("PT-15: states the protocol level, not the release, as the component's version", () => {
    expect(userAgentOf({ ...PARTS, arch: "x86_64", kernel: "6.1.0" })).toBe(
      "Debian/12 gateway/1.5.0 postern/0.1.0 (x86_64; 6.1.0)",
    );
  });

  it("PT-15: leaves out what is unknown", () => {
    expect(userAgentOf({ ...PARTS, kernel: "6.1.0" })).toMatch(/ \(6\.1\.0\)$/);
    expect(userAgentOf(PARTS)).toMatch(/postern\/0\.1\.0$/);
  });

  it("PT-15: removes everything but printable ASCII", () => {
    expect(userAgentOf({ ...PARTS, kernel: "6.1.0-büro\r\nX: y\u0000" })).toMatch(/\(6\.1\.0-broX: y\)$/);
    expect(toHeaderText("\u001f ~\u007f")).toBe(" ~");
  });
});
