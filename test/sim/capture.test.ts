import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { openCapture } from "./capture.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-pcap-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The only file, without its header of 24 bytes, and the record's time. */
function onlyPacket(): { readonly atUs: number; readonly packet: string } {
  const [name = "none"] = readdirSync(folder);
  const file = readFileSync(join(folder, name));
  expect([file.readUInt32LE(0), file.readUInt32LE(20)]).toEqual([0xa1b2c3d4, 101]);
  const atUs = file.readUInt32LE(24) * 1e6 + file.readUInt32LE(28);
  const packet = file.subarray(40);
  expect(file.readUInt32LE(32)).toBe(packet.length);
  return { atUs, packet: packet.toString("hex") };
}

describe("the world's datagrams in a file", () => {
  const payload = new Uint8Array([0xab, 0xcd]);

  it("TS-77: a datagram is an IPv4 packet with its virtual time", () => {
    const from = { address: ip("192.0.2.1"), port: 1 };
    openCapture(7, folder)?.record(1_500_002, from, { address: ip("192.0.2.2"), port: 258 }, payload);
    expect(onlyPacket()).toEqual({
      atUs: 1_500_002,
      packet: [
        "4500001e",
        "00000000",
        "40110000",
        "c0000201",
        "c0000202",
        "00010102",
        "000a0000",
        "abcd",
      ].join(""),
    });
  });

  it("TS-77: and an IPv6 packet likewise", () => {
    const from = { address: ip("2001:db8::1"), port: 1 };
    openCapture(7, folder)?.record(0, from, { address: ip("2001:db8::2"), port: 258 }, payload);
    const [source, destination] = ["1", "2"].map((end) => `20010db8${"0".repeat(23)}${end}`);
    expect(onlyPacket().packet).toBe(`60000000000a1140${source}${destination}00010102000a0000abcd`);
  });

  it("TS-77: nothing is recorded unless it is asked for", () => {
    expect(openCapture(7, "")).toBeUndefined();
  });
});
