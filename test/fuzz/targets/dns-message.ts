/** A DNS message, as query and as response, and what we make of it. */
import { concatBytes, fromBase64 } from "../../../src/base/index.ts";
import {
  checkQuery,
  checkResponse,
  domainOf,
  encodeForwarded,
  encodeLocal,
  encodeReturned,
  fitAnswer,
  parseMessage,
  parseResponse,
  toName,
  udpLimitOf,
} from "../../../src/dns/index.ts";
import { claim, type FuzzTarget } from "../target.ts";

/** The query of RFC 8484 §4.1.1. */
const QUERY = fromBase64("AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB") ?? new Uint8Array();
const OPT = Uint8Array.of(0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 6, 0, 15, 0, 2, 0, 22);
const ANSWER = concatBytes(
  Uint8Array.of(0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1),
  QUERY.subarray(12),
  Uint8Array.of(0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 97, 0xc0, 16),
  Uint8Array.of(1, 97, 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1),
  OPT,
);
const WWW = toName("www.example.com") ?? unnamed();
const TYPES = [1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 65, 251, 252, 255];

export function createTarget(): FuzzTarget {
  return {
    seeds: [QUERY, ANSWER, concatBytes(QUERY.subarray(0, 10), Uint8Array.of(0, 1), QUERY.subarray(12), OPT)],
    words: [
      ...TYPES.map((type) => Uint8Array.of(0, type, 0, 1)),
      ...[
        OPT,
        Uint8Array.of(0xc0, 12),
        Uint8Array.of(0xc0, 0xff),
        Uint8Array.of(63),
        Uint8Array.of(0, 0, 41),
      ],
      ...["xn--", "\u0004corp", "\u0002in-addr\u0004arpa\u0000", "*"],
    ],
    bytesMax: 1400,
    run(input) {
      const message = parseMessage(input);
      if (message.ok) {
        const { bytes } = message.value;
        claim(bytes.length <= input.length, "a message is no longer than its datagram");
        claim(parseMessage(bytes).ok, "what is cut off behind it changes nothing");
      }
      parseResponse(input, { id: 0, name: WWW, type: 1 });
      const check = checkQuery(input);
      if (check.kind !== "query") return;
      const { query } = check;
      claim(toName(domainOf(query.question.name))?.key === query.question.name.key, "a name reads back");
      const forwarded = encodeForwarded(query, 7);
      claim(parseMessage(forwarded).ok, "what is forwarded is a message");
      const local = encodeLocal(query, { rcode: 0, records: [{ type: 1, data: Uint8Array.of(1, 2, 3, 4) }] });
      const response = checkResponse(local, query, query.header.id);
      claim(response.ok, "an answer of ours answers");
      if (response.ok)
        claim(parseMessage(encodeReturned(response.value, query)).ok, "so does what is returned");
      claim(fitAnswer(query, local, udpLimitOf(query)).length <= udpLimitOf(query), "it fits");
    },
  };
}

function unnamed(): never {
  throw new Error("a name that is right is read");
}
