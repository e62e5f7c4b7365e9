/**
 * The packet plane under datagrams and frames (WG-4 to WG-16, TN-61, TN-62): pieces are raw datagrams, texts that a peer
 * with valid keys has sealed, channel data around either, and frames of the TUN device. In each mode the WebAssembly
 * and its twin get the same and must do the same.
 */
import type { PlaneMode } from "../../../bindings/plane/index.ts";
import { concatBytes, equalBytes, type Instant, instant, ip } from "../../../src/base/index.ts";
import type { SessionKeys } from "../../../src/plane/index.ts";
import { createDrivenPlane, type DrivenPlane } from "../../twin/driven-plane.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { counting, tcp, udp } from "../../unit/plane/packets.ts";
import { mendPacket } from "../packet-fields.ts";
import {
  CHANNEL,
  createPlaneWorld,
  ENDPOINT,
  LIMITS,
  OWN,
  peerNamed,
  RELAY,
  START,
  setUp,
} from "../plane-world.ts";
import { canonical } from "../storm.ts";
import { claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";

const MODES: readonly PlaneMode[] = ["plain", "gateway", "client"];
const FROM = [ENDPOINT, RELAY, { ...ENDPOINT, port: 4001 }, { address: ip("2001:db8::1"), port: 4000 }];
const [PIECES_MAX, DATAGRAM_BYTES_MAX, VNET_BYTES] = [12, 1500, 10];

/** One plane and its twin. They live on from run to run, so counters only rise. */
interface Rig {
  readonly mode: PlaneMode;
  readonly plane: DrivenPlane;
  readonly twin: DrivenPlane;
  readonly sessions: readonly SessionKeys[];
  counter: bigint;
  now: Instant;
}

export function createTarget(): FuzzTarget {
  const rigs = MODES.map(createRig);
  const mallory = { source: ip("10.1.0.1"), destination: ip("10.2.0.9"), family: 4 } as const;
  const texts = [tcp(counting(100), mallory), udp(counting(40), mallory), new Uint8Array()];
  return {
    // The first byte chooses the mode.
    seeds: MODES.flatMap((_, mode) => [
      concatBytes(Uint8Array.of(mode), joinPieces(...texts.map((bytes) => ({ kind: 1, bytes })))),
      concatBytes(
        Uint8Array.of(mode),
        joinPieces({ kind: 0, bytes: Uint8Array.of(4, 0, 0, 0, 1, 10, 10, 10) }),
      ),
      concatBytes(Uint8Array.of(mode), joinPieces({ kind: 0x23, bytes: texts[0] ?? new Uint8Array() })),
      concatBytes(
        Uint8Array.of(mode),
        joinPieces({ kind: 4, bytes: concatBytes(new Uint8Array(VNET_BYTES), udp(counting(30), back)) }),
      ),
    ]),
    words: [
      ...[
        Uint8Array.of(4, 0, 0, 0),
        Uint8Array.of(1, 0, 0, 0),
        Uint8Array.of(0x4a, 0xbc),
        Uint8Array.of(0x45, 0),
      ],
      ...[
        "10.2.0.9",
        "10.1.0.1",
        "10.2.0.10",
        "10.50.0.1",
        "10.60.0.1",
        "10.70.0.1",
        "fd02::9",
        "fd01::1",
      ].map(ip),
    ],
    bytesMax: 4000,
    mend: ([mode = 0, ...rest]) =>
      concatBytes(
        Uint8Array.of(mode),
        joinPieces(...piecesOf(Uint8Array.from(rest), PIECES_MAX).map(mendPiece)),
      ),
    run(input) {
      const which = (input[0] ?? 0) % rigs.length;
      const rig = rigs[which];
      if (rig === undefined) return;
      try {
        for (const piece of piecesOf(input.subarray(1), PIECES_MAX)) take(rig, piece);
        settle(rig);
      } catch (error) {
        // From here on the two differ in whatever comes.
        rigs[which] = createRig(rig.mode);
        throw error;
      }
    },
  };
}

const back = { source: ip("10.2.0.9"), destination: ip("10.1.0.1"), family: 4 } as const;

function createRig(mode: PlaneMode): Rig {
  const { peers, policy, mtu } = createPlaneWorld(mode);
  const [plane, twin] = (["WebAssembly", "twin"] as const).map((kind) =>
    createDrivenPlane(kind, { mode, mtu, limits: LIMITS }),
  );
  if (plane === undefined || twin === undefined) throw new Error("two planes");
  for (const one of [plane, twin]) setUp(one, { peers, policy });
  const sessions = [...peerNamed(peers, "mallory").sessions, ...peerNamed(peers, "alice").sessions];
  return { mode, plane, twin, sessions, counter: 1n, now: START };
}

function mendPiece({ kind, bytes }: Piece): Piece {
  if ((kind & 7) < 4) return { kind, bytes: mendPacket(bytes) };
  return {
    kind,
    bytes: concatBytes(bytes.subarray(0, VNET_BYTES), mendPacket(bytes.subarray(VNET_BYTES))),
  };
}

function take(rig: Rig, { kind, bytes }: Piece): void {
  const { plane, twin, sessions } = rig;
  const given = bytes.subarray(0, DATAGRAM_BYTES_MAX);
  if ((kind & 7) >= 4) {
    const [sent, expected] = [plane, twin].map((one) => one.egress(rig.now, Uint8Array.from(given)));
    const lengths = (of: typeof sent) => of?.map(({ slot, bytes: { length } }) => `${slot} ${length}`).join();
    claim(lengths(sent) === lengths(expected), `leaves as the twin says: ${lengths(expected)}`);
    return;
  }
  const session = sessions[(kind >> 4) % sessions.length];
  const message =
    (kind & 1) === 0 || session === undefined
      ? given
      : sealMessage(session.receiveKey, session.local, rig.counter++, given);
  const isChannelData = (kind & 2) !== 0;
  const datagram = isChannelData ? concatBytes(channelHeader(message.length), message) : message;
  const from = FROM[isChannelData ? 1 : (kind >> 3) & 3] ?? ENDPOINT;
  const batch = { from, local: OWN.address, ecn: (kind >> 5) & 3, bytes: datagram };
  const [packets = [], expected = []] = [plane, twin].map((one) => one.ingress(rig.now, batch));
  claim(packets.length === expected.length, `${expected.length} packets pass`);
  for (const [i, packet] of packets.entries()) {
    claim(equalBytes(canonical(packet), canonical(expected[i] ?? packet)), "the same packet");
  }
}

function channelHeader(length: number): Uint8Array {
  return Uint8Array.of(CHANNEL >> 8, CHANNEL & 0xff, length >> 8, length & 0xff);
}

/** What control is handed, and every counter. */
function settle(rig: Rig): void {
  const { plane, twin } = rig;
  const [punts, events] = [
    [plane, twin].map((one) => JSON.stringify(one.takePunts())),
    [plane, twin].map((one) => JSON.stringify(one.takeEvents(), bigintsToo)),
  ];
  claim(punts[0] === punts[1], "the same packets go up");
  claim(events[0] === events[1], "and the same events");
  const [tallies, expected] = [plane, twin].map((one) => one.tallies());
  for (const side of ["egress", "ingress"] as const) {
    const [own, other] = [tallies?.[side], expected?.[side]];
    claim(
      sorted(own?.drops) === sorted(other?.drops),
      `the same drops: ${sorted(own?.drops)}, twin: ${sorted(other?.drops)}`,
    );
    claim(own?.counters.packets_passed === other?.counters.packets_passed, `as many passed (${side})`);
  }
  rig.now = instant(rig.now + 1);
}

function sorted(drops: object = {}): string {
  return Object.entries(drops).toSorted().join(" ");
}

function bigintsToo(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
