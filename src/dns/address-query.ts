/**
 * Questions for addresses and the answers to them (RFC 1035 §4), as far as a stub of our own needs them: one
 * question, no EDNS, so that an answer that does not fit into 512 octets comes truncated and is asked for by TCP.
 */
import { concatBytes, copyOf, type IpAddress, malformed, type Parsed, parsed } from "../base/index.ts";
import { CLASS_IN, TYPE } from "./constants.ts";
import { checkResponse, type UnacceptableResponse } from "./forward.ts";
import { HEADER_BYTES, type Name, parseName } from "./name.ts";
import type { DnsMessage } from "./wire.ts";

const FLAG_RECURSION_DESIRED = 0x0100;
/** Aliases that are followed within one answer. */
const ALIASES_MAX = 16;

export interface AddressQuestion {
  readonly id: number;
  readonly name: Name;
  readonly type: number;
}

export interface AddressResponse {
  readonly rcode: number;
  /** Not all of the answer is here (RFC 1035 §4.2.1). */
  readonly isTruncated: boolean;
  /** Of the asked name, or of the name that it is an alias of. */
  readonly addresses: readonly IpAddress[];
  /** The smallest TTL of all answers; 0 if there are none. */
  readonly lifetimeS: number;
  /** Where there are no addresses: how long that holds, if the server says so. */
  readonly negativeTtlS?: number;
}

export function encodeQuery({ id, name, type }: AddressQuestion): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint16(0, id);
  view.setUint16(2, FLAG_RECURSION_DESIRED);
  view.setUint16(4, 1);
  return concatBytes(header, name.wire, Uint8Array.of(type >> 8, type, 0, CLASS_IN));
}

/** Reads the answer to `question`; anything else is malformed. */
export function parseResponse(
  bytes: Uint8Array,
  { id, name, type }: AddressQuestion,
): Parsed<AddressResponse, UnacceptableResponse> {
  const response = checkResponse(bytes, { question: { name, type, class: CLASS_IN } }, id);
  if (!response.ok) return malformed(response.reason);
  const { rcode, isTruncated } = response.value.header;
  const addresses = isTruncated ? [] : addressesIn(response.value, name.key, type);
  const ttls = response.value.answers.map(({ ttlS }) => ttlS);
  const { negativeTtlS } = response.value;
  return parsed({
    ...{ rcode, isTruncated, addresses, lifetimeS: ttls.length === 0 ? 0 : Math.min(...ttls) },
    ...(negativeTtlS !== undefined && { negativeTtlS }),
  });
}

/** The addresses of the asked name, by way of its aliases. */
export function addressesIn(message: DnsMessage, key: string, type: number): readonly IpAddress[] {
  const records = message.answers
    .filter((record) => record.class === CLASS_IN && (record.type === type || record.type === TYPE.CNAME))
    .map((record) => ({ ...record, owner: keyAt(message.bytes, record.ownerAt) }));
  let owner: string | undefined = key;
  for (let aliases = 0; aliases < ALIASES_MAX && owner !== undefined; aliases++) {
    const found = records.filter((record) => record.type === type && record.owner === owner);
    if (found.length > 0) {
      return found.map(({ dataAt, dataBytes }) => copyOf(message.bytes.subarray(dataAt, dataAt + dataBytes)));
    }
    const alias = records.find((record) => record.type === TYPE.CNAME && record.owner === owner);
    owner = alias === undefined ? undefined : keyAt(message.bytes, alias.dataAt);
  }
  return [];
}

function keyAt(bytes: Uint8Array, at: number): string | undefined {
  const name = parseName(bytes, at);
  return name.ok ? name.value.name.key : undefined;
}
