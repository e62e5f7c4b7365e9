/**
 * The TURN client under answers of a hostile relay (RL-80 ff.): raw messages, and answers to what it asked, with the
 * input's attributes and a signature that is right.
 */
import { concatBytes } from "../../../src/base/index.ts";
import { encodeTurn, parseTurn, type RelayAnswer } from "../../../src/turn/index.ts";
import {
  createLoneRelayClient,
  KEY,
  LOCAL4,
  type LoneRelayClient,
  MAPPED4,
  NONCE,
  PEER,
  RELAYED4,
  SERVER4,
} from "../../unit/turn/lone-relay-client.ts";
import { encodeSigned } from "../signed-stun.ts";
import { claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";
import { mendStun } from "./stun.ts";

const CLASSES = ["success", "error"] as const;
const [RAW_AT, BYTES_MAX] = [20, 1200];

export function createTarget(): FuzzTarget {
  const mapped = success({ mappedAddress: MAPPED4 });
  const allocated = success({ relayedAddresses: [RELAYED4], lifetimeSeconds: 600 });
  const [time, bind] = [
    { kind: 2, bytes: Uint8Array.of(1, 44) },
    { kind: 3, bytes: Uint8Array.of() },
  ];
  return {
    seeds: [
      joinPieces(mapped, allocated, bind, success({}), time, success({ lifetimeSeconds: 600 })),
      joinPieces(mapped, refusal(401, NONCE), allocated),
      joinPieces(mapped, refusal(437, {}), success({}), allocated, time),
      joinPieces(mapped, allocated, { kind: 0, bytes: Uint8Array.of(1, 1, 0, 0) }, refusal(438, NONCE)),
    ],
    words: [401, 403, 437, 438, 440, 441, 442, 486, 508].map((code) =>
      Uint8Array.of(0, 9, 0, 4, 0, 0, Math.floor(code / 100), code % 100),
    ),
    bytesMax: 2000,
    run(input) {
      const lone = createLoneRelayClient({ dialect: input.length % 2 === 0 ? "strict" : "rfc" });
      for (const piece of piecesOf(input, 24)) take(lone, piece);
      claim(lone.machine.candidates().length <= 6, "at most one candidate of each kind and family");
      lone.pass(600_000);
      claim(lone.sent.length < 2000, "it asks no more than its timers say");
    },
  };
}

function success(fields: Parameters<typeof encodeTurn>[1]["fields"]): Piece {
  return { kind: 1, bytes: concatBytes(Uint8Array.of(0), rawOf(fields)) };
}

function refusal(code: number, fields: Parameters<typeof encodeTurn>[1]["fields"]): Piece {
  return {
    kind: 1,
    bytes: concatBytes(Uint8Array.of(1), rawOf({ errorCode: { code, phrase: "" }, ...fields })),
  };
}

function rawOf(fields: Parameters<typeof encodeTurn>[1]["fields"]): Uint8Array {
  const into = new Uint8Array(BYTES_MAX);
  const transactionId = new Uint8Array(12);
  return into.slice(RAW_AT, encodeTurn(into, { method: 3, class: "success", transactionId, fields }));
}

function take(lone: LoneRelayClient, { kind, bytes }: Piece): void {
  const asked = lone.sent.at(-1 - ((kind >> 2) & 3));
  switch (kind & 3) {
    case 0:
      return hear(lone, mendStun(bytes.subarray(0, BYTES_MAX)), SERVER4);
    case 1: {
      if (asked === undefined) return;
      const [choice = 0, ...raw] = bytes.subarray(0, BYTES_MAX);
      const { method, transactionId } = asked.message.frame;
      const answer = encodeSigned({
        ...{ method, class: CLASSES[choice & 1] ?? "success", transactionId, raw: Uint8Array.from(raw) },
        ...((choice & 2) === 0 && { key: KEY }),
      });
      return hear(lone, answer, asked.to);
    }
    case 2:
      return lone.pass(1000 * (((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)));
    default:
      return lone.run((machine, now) => {
        machine.bindChannel(now, PEER);
        const channel = machine.channelTo(now, PEER);
        if (channel !== undefined) machine.noteChannelDataSent(now, channel);
        machine.peerOf(now, 0x4000 + (bytes[0] ?? 0));
        if ((bytes[1] ?? 0) > 128) machine.refresh(now);
        if ((bytes[2] ?? 0) > 128) machine.verify(now);
      });
  }
}

function hear(lone: LoneRelayClient, datagram: Uint8Array, from: RelayAnswer["from"]): void {
  const message = parseTurn(datagram);
  if (!message.ok) return;
  lone.run((machine, now) => machine.handleStun(now, { from, local: LOCAL4, message: message.value }));
}
