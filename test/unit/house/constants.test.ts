import { describe, expect, it } from "vitest";
import { VNET_HEADER_BYTES } from "../../../bindings/linux/tun-constants.ts";
import { CONSTANTS } from "../../../bindings/memory/layout.ts";
import * as WIREGUARD from "../../../src/wireguard/constants.ts";
import { sourcesBelow } from "./sources.ts";

/** Constants of two rooms that may not import each other, neither of which is below the other. */
const TWICE: Readonly<Record<string, string>> = {
  KEY_BYTES: "of WireGuard, and of the portal's protocol, which is another's wire format",
  VNET_HEADER_BYTES:
    "of the kernel's virtio_net_hdr: in the bindings, and where TCP writes frames for the plane",
  RT_TABLE_MAIN: "of rtnetlink(7): in the bindings, and where wg-quick's files name the table",
};

interface Definition {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

/** Constants at the top of a file whose value is short enough to be a fact. */
function definitionsBelow(folder: string): readonly Definition[] {
  const form = /^(?:export )?const (?<name>[A-Z][A-Z0-9_]+)(?:: [^=\n]+)? = (?<value>[^;]{1,80});$/gm;
  return sourcesBelow(folder).flatMap(({ path, text }) =>
    [...text.matchAll(form)].flatMap(({ groups }) => {
      const { name, value } = groups ?? {};
      const plain = value?.replace(/(?<=\d)_(?=[\da-f])/g, "").replace(/\s+/g, " ");
      return name === undefined || plain === undefined ? [] : [{ name, value: plain, path }];
    }),
  );
}

describe("style §10: one fact, one place", () => {
  it("no constant is defined twice with the same name and value", () => {
    const places = new Map<string, string[]>();
    for (const { name, value, path } of ["src", "bindings"].flatMap(definitionsBelow)) {
      const key = `${name} = ${value}`;
      places.set(key, [...(places.get(key) ?? []), path]);
    }
    const twice = [...places].filter(([, paths]) => paths.length > 1);
    const wrong = twice.filter(([key]) => TWICE[key.split(" ")[0] ?? ""] === undefined);
    expect(wrong).toEqual([]);
    expect(twice.map(([key]) => key.split(" ")[0]).sort()).toEqual(Object.keys(TWICE).sort());
  });

  it("D-3, WG-4, PF-31: what the plane knows of the protocols is what the protocols say", () => {
    expect(CONSTANTS).toMatchObject({
      MESSAGE_INITIATION: WIREGUARD.TYPE_INITIATION,
      MESSAGE_RESPONSE: WIREGUARD.TYPE_RESPONSE,
      MESSAGE_COOKIE: WIREGUARD.TYPE_COOKIE_REPLY,
      MESSAGE_DATA: WIREGUARD.TYPE_TRANSPORT,
      INITIATION_BYTES: WIREGUARD.INITIATION_BYTES,
      RESPONSE_BYTES: WIREGUARD.RESPONSE_BYTES,
      COOKIE_REPLY_BYTES: WIREGUARD.COOKIE_REPLY_BYTES,
      DATA_HEADER_BYTES: WIREGUARD.TRANSPORT_HEADER_BYTES,
      TAG_BYTES: WIREGUARD.TAG_BYTES,
      SESSIONS_PER_PEER: WIREGUARD.SESSIONS_PER_PEER,
      STAGED_MAX: WIREGUARD.STAGED_MAX,
      VNET_HEADER_BYTES,
    });
  });

  it("a name that both sides know has one value", () => {
    const ofPlane = new Map<string, unknown>(Object.entries(CONSTANTS));
    const wrong = definitionsBelow("src")
      .filter(({ name, value }) => ofPlane.has(name) && String(ofPlane.get(name)) !== String(Number(value)))
      .map(({ name, path }) => `${path}: ${name}`);
    expect(wrong).toEqual([]);
  });
});
