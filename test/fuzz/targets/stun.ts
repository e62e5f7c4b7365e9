/** A STUN message: read, verified, its attributes, and as TURN; written again it says the same. */
import { fromHex, ip } from "../../../src/base/index.ts";
import {
  attributeOf,
  crc32,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  isStunShaped,
  parseBinding,
  parseFrame,
  verifyIntegrity,
} from "../../../src/stun/index.ts";
import { parseTurn } from "../../../src/turn/index.ts";
import { claim, type FuzzTarget } from "../target.ts";

const KEY = new TextEncoder().encode("a secret of the two");
const transactionId = Uint8Array.from({ length: 12 }, (_, i) => i);

export function createTarget(): FuzzTarget {
  return {
    seeds: [
      written((into) =>
        encodeBindingRequest(
          into,
          {
            ...{ transactionId, username: "peer:mine", priority: 2 ** 30, isNominated: true },
            claim: { role: "controlling", tieBreaker: 7n },
          },
          KEY,
        ),
      ),
      ...["192.0.2.7", "2001:db8::7"].map((address) =>
        written((into) =>
          encodeBindingSuccess(
            into,
            { transactionId, mappedAddress: { address: ip(address), port: 9 } },
            KEY,
          ),
        ),
      ),
      written((into) => encodeBindingError(into, { transactionId, code: 487, phrase: "Role Conflict" }, KEY)),
    ],
    words: [
      "2112a442",
      ...["0001", "0101", "0111", "0011", "0003", "0103", "0113", "0004", "0009", "0016", "0017"],
      ...["00060004", "00080014", "00090004", "000a0002", "000c0004", "000d0004", "0012", "0013", "0014"],
      ...["0015", "0016", "00170004", "0019000411000000", "00200008", "00240004", "00250000", "80280004"],
      ...["8029", "802a0008", "8000000402000000", "8001", "00220008", "00180001"],
    ].map((word) => fromHex(word) ?? new Uint8Array()),
    bytesMax: 600,
    mend: mendStun,
    run(input) {
      const frame = parseFrame(input);
      claim(isStunShaped(input) || !frame.ok, "what is read has the shape");
      if (frame.ok) {
        for (const { type, value } of frame.value.attributes) {
          claim(value.length <= input.length, "a value lies inside the message");
          claim(attributeOf(frame.value, type) !== undefined, "an attribute is found");
        }
        claim(frame.value.transactionId.length === 12, "12 bytes of transaction");
        verifyIntegrity(frame.value, KEY);
      }
      const binding = parseBinding(input);
      if (binding.ok) claim(frame.ok, "a Binding message is a frame");
      const turn = parseTurn(input);
      if (turn.ok) claim(frame.ok, "so is a TURN message");
    },
  };
}

function written(encode: (into: Uint8Array) => number): Uint8Array {
  const into = new Uint8Array(600);
  return into.slice(0, encode(into));
}

/** Length and, where there is one at the end, FINGERPRINT. */
export function mendStun(input: Uint8Array): Uint8Array {
  const bytes = input.slice(0, input.length & ~3);
  if (bytes.length < 28) return input;
  const view = new DataView(bytes.buffer);
  view.setUint16(2, bytes.length - 20);
  if (view.getUint32(bytes.length - 8) === 0x8028_0004) {
    view.setUint32(bytes.length - 4, (crc32(bytes.subarray(0, bytes.length - 8)) ^ 0x5354_554e) >>> 0);
  }
  return bytes;
}
