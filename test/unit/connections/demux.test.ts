import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fromHex, ip } from "../../../src/base/index.ts";
import { createLoneConnections, LOCAL } from "./lone-connections.ts";

interface Vector {
  readonly name: string;
  readonly head: string;
  readonly bytes: number;
  readonly port: number;
  readonly kind: string;
  readonly strip?: number;
}

const FILE = new URL("../../vectors/demux.json", import.meta.url);
const { vectors }: { vectors: readonly Vector[] } = JSON.parse(readFileSync(FILE, "utf8"));

/** What the machine, which knows nobody, makes of a kind; whole transport messages it gets of strangers only. */
const OUTCOMES: Readonly<Record<string, RegExp>> = {
  stun: /^dropped stun_(unmatched|malformed)$/,
  handshake: /^dropped (unknown_connection|wg_rejected)$/,
  wg_unknown_index: /^dropped unknown_connection$/,
  // The plane keeps it to itself.
  wg_malformed: /^unknown-format$/,
  // A channel that nobody has bound is the machine's to recognise (SN-100).
  other: /^(unknown-format|dropped late_channel_data)$/,
};

/** As the plane hands it over: without the header of channel data. */
function handedOver({ head, bytes, strip = 0 }: Vector): Uint8Array {
  const datagram = new Uint8Array(bytes).fill(0x5a);
  datagram.set((fromHex(head) ?? new Uint8Array()).subarray(0, bytes));
  if (strip === 0) return datagram;
  return datagram.subarray(strip, strip + new DataView(datagram.buffer).getUint16(2));
}

describe("SN-128, SN-102: the machine takes a datagram for what the plane takes it for", () => {
  const isOpenedByPlane = ({ head, kind }: Vector): boolean =>
    head.startsWith("4a") && kind === "wg_unknown_index";

  it.each(vectors.filter((vector) => !isOpenedByPlane(vector)))("takes $name for $kind", (vector) => {
    const lone = createLoneConnections("client");
    const from = { address: ip("192.0.2.1"), port: vector.port };
    const outcome = lone.apply((machine, now) =>
      machine.handleDatagram(now, { local: LOCAL, from, bytes: handedOver(vector) }),
    );
    const said = outcome.kind === "dropped" ? `dropped ${outcome.counter}` : outcome.kind;
    expect(said).toMatch(OUTCOMES[vector.kind] ?? /^no such kind$/);
  });
});
