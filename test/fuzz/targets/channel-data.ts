/** A TURN channel-data message, alone and on a stream that comes in pieces (RL-4, RL-201). */
import { concatBytes, equalBytes, fromHex } from "../../../src/base/index.ts";
import {
  CHANNEL_LAST_ACCEPTED,
  createStreamReader,
  encodeChannelData,
  parseChannelData,
  toStream,
} from "../../../src/turn/index.ts";
import { claim, type FuzzTarget } from "../target.ts";

const DATA = fromHex("40000005 0102030405") ?? new Uint8Array();
const STUN = fromHex("00010000 2112a442 000102030405060708090a0b") ?? new Uint8Array();

export function createTarget(): FuzzTarget {
  return {
    seeds: [DATA, concatBytes(toStream(DATA), STUN, toStream(DATA)), fromHex("4fff0000") ?? DATA],
    words: ["2112a442", "4000", "4fff", "7fff", "0001", "00010000"].map((word) => fromHex(word) ?? DATA),
    bytesMax: 4096,
    run(input) {
      const single = parseChannelData(input, CHANNEL_LAST_ACCEPTED);
      if (single.ok) {
        const into = new Uint8Array(input.length);
        const length = encodeChannelData(into, single.value);
        claim(
          equalBytes(into.subarray(0, length), input.subarray(0, length)),
          "written again it is the same",
        );
      }
      const whole = createStreamReader()(input);
      const piece = 1 + ((input[0] ?? 0) % 7);
      const read = createStreamReader();
      const messages: Uint8Array[] = [];
      let isBroken = false;
      for (let at = 0; at < input.length && !isBroken; at += piece) {
        const next = read(input.subarray(at, at + piece));
        messages.push(...next.messages);
        isBroken = next.isBroken;
      }
      claim(isBroken === whole.isBroken, "a stream breaks in pieces as in one");
      claim(messages.length === whole.messages.length, "it has as many messages");
      for (const [i, message] of messages.entries()) {
        claim(equalBytes(message, whole.messages[i] ?? STUN), "and the same");
      }
    },
  };
}
