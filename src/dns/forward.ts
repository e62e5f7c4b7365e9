/** Queries on their way to another resolver, and which answers to them are accepted (DN-8, DN-13, DN-14). */
import { concatBytes, copyOf, malformed, type Parsed, parsed } from "../base/index.ts";
import { RCODE, UDP_MAX } from "./constants.ts";
import { HEADER_BYTES } from "./name.ts";
import type { Query } from "./query.ts";
import { type DnsMessage, type MalformedDns, parseMessage } from "./wire.ts";

export type UnacceptableResponse = MalformedDns | "not-a-response" | "other-id" | "other-question";

/** What a server may say without repeating the question. */
const QUESTIONLESS: readonly number[] = [RCODE.formErr, RCODE.notImp, RCODE.refused, RCODE.servFail];

/**
 * The query as it is sent on: other ID, and no promise to take more than fits into our packets, unless a
 * signature forbids a change. Everything else keeps its octets.
 */
export function encodeForwarded(query: Query, id: number): Uint8Array<ArrayBuffer> {
  const bytes = copyOf(query.bytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id);
  const { edns } = query;
  if (edns !== undefined && edns.sizeBytes > UDP_MAX && !query.isSigned) view.setUint16(edns.sizeAt, UDP_MAX);
  return bytes;
}

/** Whether `bytes` answer the query that was sent with `id`; they are borrowed. */
export function checkResponse(
  bytes: Uint8Array,
  query: Pick<Query, "question">,
  id: number,
): Parsed<DnsMessage, UnacceptableResponse> {
  const message = parseMessage(bytes);
  if (!message.ok) return message;
  const { header, question } = message.value;
  if (!header.isResponse || header.opcode !== 0) return malformed("not-a-response");
  if (header.id !== id) return malformed("other-id");
  if (question === undefined) {
    return QUESTIONLESS.includes(header.rcode) ? parsed(message.value) : malformed("other-question");
  }
  const asked = query.question;
  const isSame =
    question.name.key === asked.name.key && question.type === asked.type && question.class === asked.class;
  return isSame ? parsed(message.value) : malformed("other-question");
}

/**
 * The response for the asker: its own ID, and its question if the server left that out.
 * @param ageS how long it has lain in a cache of HTTP: TTLs are lowered by it (RFC 8484 §5.1)
 */
export function encodeReturned(response: DnsMessage, query: Query, ageS = 0): Uint8Array<ArrayBuffer> {
  const isWhole = response.question !== undefined;
  const bytes = isWhole
    ? copyOf(response.bytes)
    : concatBytes(
        response.bytes.subarray(0, HEADER_BYTES),
        query.bytes.subarray(HEADER_BYTES, query.recordsAt),
        withoutPointers(response),
      );
  const view = new DataView(bytes.buffer);
  view.setUint16(0, query.header.id);
  if (isWhole && ageS > 0) {
    for (const { dataAt, ttlS } of response.answers) view.setUint32(dataAt - 6, Math.max(0, ttlS - ageS));
  }
  if (!isWhole) {
    view.setUint16(4, 1);
    // Records may have pointed into what has moved: only the OPT, which cannot, stays.
    view.setUint16(6, 0);
    view.setUint16(8, 0);
    view.setUint16(10, response.edns === undefined ? 0 : 1);
  }
  return bytes;
}

function withoutPointers({ bytes, edns }: DnsMessage): Uint8Array {
  if (edns === undefined) return new Uint8Array(0);
  const optAt = edns.sizeAt - 3;
  return bytes.subarray(optAt, edns.sizeAt + 8 + edns.options.length);
}
