/**
 * A WireGuard device under handshake messages (WG §3, §5, §11): raw ones, ones whose mac1 is right, and changed copies of
 * what the two ends have said. What two honest ends have is not taken from them.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { instant } from "../../../src/base/index.ts";
import { macFields, parseMessage } from "../../../src/wireguard/messages.ts";
import { advance, crypto, type End, pair, send, type World } from "../../unit/wireguard/wire.ts";
import { bytesOf, claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";

const PIECES_MAX = 16;
const SESSIONS_MAX = 16;

interface Talk {
  readonly world: World;
  readonly ends: readonly [End, End];
  /** Everything that was sent. */
  readonly heard: { readonly from: End; readonly bytes: Uint8Array }[];
}

export function createTarget(): FuzzTarget {
  const message = (type: number, length: number): Uint8Array => {
    const bytes = Uint8Array.from(sha256(Uint8Array.of(type, length)));
    const whole = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) whole.set(bytes.subarray(0, length - at), at);
    whole.set([type, 0, 0, 0]);
    return whole;
  };
  const piece = (kind: number, ...bytes: readonly number[]): Piece => ({
    kind,
    bytes: Uint8Array.from(bytes),
  });
  return {
    seeds: [
      joinPieces({ kind: 0, bytes: message(1, 148) }, { kind: 1, bytes: message(1, 148) }),
      joinPieces(piece(4), piece(2, 0, 200), { kind: 1, bytes: message(2, 92) }),
      joinPieces(piece(4), piece(3, 0, 0, 0), piece(3, 1, 40, 1), piece(2, 1, 0)),
      joinPieces({ kind: 0, bytes: message(3, 64) }, piece(5), piece(2, 20, 0), piece(3, 2, 4, 255)),
    ],
    words: [1, 2, 3, 4].map((type) => Uint8Array.of(type, 0, 0, 0)),
    bytesMax: 1200,
    run(input) {
      const parsed = parseMessage(input);
      claim(parsed.ok || parsed.reason === "wg_malformed", "read or refused");
      const { world, a, b } = pair("tunnel");
      const talk: Talk = { world, ends: [a, b], heard: [] };
      world.loses = () => false;
      for (const one of piecesOf(input, PIECES_MAX)) take(talk, one);
      // An hour would be mended by a new session; ten seconds are enough for one.
      advance(world, 6_000);
      const before = b.received.length;
      send(world, a, b, "honest");
      advance(world, 8_000);
      const isExpired = a.events.some(({ kind }) => kind === "expired");
      claim(isExpired || b.received.length > before, "honest ends reach each other");
      for (const end of talk.ends) claim(end.mostSessions <= SESSIONS_MAX, "sessions stay bounded");
    },
  };
}

function take(talk: Talk, { kind, bytes }: Piece): void {
  const { world, ends, heard } = talk;
  const to = ends[(kind >> 4) & 1] ?? ends[0];
  for (const { from, bytes: sent } of world.flights) heard.push({ from, bytes: sent });
  switch (kind & 7) {
    case 0:
      return hit(world, to, bytes);
    case 1:
      return hit(world, to, withMac(to, bytes));
    case 2:
      return advance(world, Math.min(20_000, ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)));
    case 3: {
      const [which = 0, at = 0, flip = 0] = bytes;
      const known = heard[which % Math.max(1, heard.length)];
      if (known === undefined) return;
      const copy = known.bytes.slice();
      copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ flip;
      return hit(world, to, (bytes[3] ?? 0) > 127 ? withMac(to, copy) : copy);
    }
    case 4:
      return send(world, ends[0], ends[1], "x");
    default: {
      const peer = ends[0].device.peerBySlot(0);
      if (peer !== undefined) ends[0].device.initiate(world.now, peer);
      return advance(world, 0);
    }
  }
}

/** mac1 as whoever knows the public key makes it. */
function withMac(to: End, given: Uint8Array): Uint8Array {
  const bytes = given.slice();
  if (bytes.length < 64) return bytes;
  const { beforeMac1, mac1 } = macFields(bytes);
  mac1.set(crypto.mac(crypto.hash(bytesOf("mac1----"), to.publicKey), beforeMac1));
  return bytes;
}

function hit(world: World, to: End, bytes: Uint8Array): void {
  const from = world.ends.find((end) => end !== to) ?? to;
  world.flights.push({ arrives: instant(world.now), from, source: from.address, to: to.address, bytes });
  advance(world, 0);
}
