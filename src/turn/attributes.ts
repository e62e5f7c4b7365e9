/** The attributes of TURN (RL-1) as a table: name, type, and how the value reads and is written. */
import type { SocketAddress } from "../base/index.ts";
import {
  ERROR_CODE,
  parseXorAddress,
  SOFTWARE,
  type StunAttribute,
  type StunFrame,
  toXorAddress,
  USERNAME,
  XOR_MAPPED_ADDRESS,
} from "../stun/index.ts";
import {
  ADDITIONAL_ADDRESS_FAMILY,
  ADDITIONAL_ADDRESS_FAMILY_COTURN,
  ADDRESS_ERROR_CODE,
  CHANNEL_NUMBER,
  COMPREHENSION_OPTIONAL,
  DONT_FRAGMENT,
  EVEN_PORT,
  LIFETIME,
  MAPPED_ADDRESS,
  NONCE,
  REALM,
  REQUESTED_ADDRESS_FAMILY,
  REQUESTED_TRANSPORT,
  RESERVATION_TOKEN,
  UNKNOWN_ATTRIBUTES,
  XOR_PEER_ADDRESS,
  XOR_RELAYED_ADDRESS,
} from "./constants.ts";

export interface TurnError {
  /** 300 to 699. */
  readonly code: number;
  readonly phrase: string;
}

/** Values of attributes. Byte strings borrow the datagram they were read from. */
export interface TurnFields {
  readonly username?: Uint8Array;
  readonly realm?: Uint8Array;
  readonly nonce?: Uint8Array;
  readonly errorCode?: TurnError;
  readonly unknownAttributes?: readonly number[];
  readonly channelNumber?: number;
  readonly lifetimeSeconds?: number;
  readonly peerAddress?: SocketAddress;
  /** One per family: the first of each counts (RL-86). */
  readonly relayedAddresses?: readonly SocketAddress[];
  readonly mappedAddress?: SocketAddress;
  /** FAMILY_IPV4, FAMILY_IPV6, or another byte, which is not served (RL-19). */
  readonly requestedFamily?: number;
  readonly additionalFamily?: number;
  /** The same under coturn's number. */
  readonly additionalFamilyCoturn?: number;
  /** Whether the next higher port shall be reserved. */
  readonly evenPort?: boolean;
  /** 8 bytes. */
  readonly reservationToken?: Uint8Array;
  /** Protocol number; TRANSPORT_UDP is the only one served. */
  readonly requestedTransport?: number;
  readonly dontFragment?: true;
  readonly addressError?: TurnError & { readonly family: number };
  readonly software?: string;
}

interface AttributeCodec<T> {
  readonly type: number;
  /** `undefined`: the value is not as its definition says. */
  readonly decode: (value: Uint8Array, transactionId: Uint8Array) => T | undefined;
  readonly encode: (value: T, transactionId: Uint8Array) => Uint8Array;
}

/** `relayedAddresses` is the one attribute that comes several times; its row reads a single one. */
type Single<K extends keyof TurnFields> = K extends "relayedAddresses"
  ? SocketAddress
  : NonNullable<TurnFields[K]>;

const CODECS: { readonly [K in keyof TurnFields]-?: AttributeCodec<Single<K>> } = {
  username: bytes(USERNAME),
  realm: bytes(REALM),
  nonce: bytes(NONCE),
  errorCode: { type: ERROR_CODE, decode: decodeError, encode: (error) => encodeError(error, 0) },
  unknownAttributes: { type: UNKNOWN_ATTRIBUTES, decode: decodeTypes, encode: encodeTypes },
  channelNumber: {
    type: CHANNEL_NUMBER,
    decode: (value) => (value.length === 4 ? viewOf(value).getUint16(0) : undefined),
    encode: (channel) => Uint8Array.of(channel >> 8, channel & 0xff, 0, 0),
  },
  lifetimeSeconds: {
    type: LIFETIME,
    decode: (value) => (value.length === 4 ? viewOf(value).getUint32(0) : undefined),
    encode: encodeU32,
  },
  peerAddress: xorAddress(XOR_PEER_ADDRESS),
  relayedAddresses: xorAddress(XOR_RELAYED_ADDRESS),
  mappedAddress: xorAddress(XOR_MAPPED_ADDRESS),
  requestedFamily: firstByte(REQUESTED_ADDRESS_FAMILY),
  additionalFamily: firstByte(ADDITIONAL_ADDRESS_FAMILY),
  additionalFamilyCoturn: firstByte(ADDITIONAL_ADDRESS_FAMILY_COTURN),
  evenPort: {
    type: EVEN_PORT,
    decode: (value) => (value.length === 1 ? ((value[0] ?? 0) & 0x80) !== 0 : undefined),
    encode: (isNextReserved) => Uint8Array.of(isNextReserved ? 0x80 : 0),
  },
  reservationToken: {
    type: RESERVATION_TOKEN,
    decode: (value) => (value.length === 8 ? value : undefined),
    encode: (token) => token,
  },
  requestedTransport: {
    ...firstByte(REQUESTED_TRANSPORT),
    // Reserved bits that are set ask for something that nobody knows (RL-17).
    decode: (value) =>
      value.length === 4 && value.subarray(1).every((byte) => byte === 0) ? value[0] : undefined,
  },
  dontFragment: {
    type: DONT_FRAGMENT,
    decode: (value) => (value.length === 0 ? true : undefined),
    encode: () => new Uint8Array(0),
  },
  addressError: {
    type: ADDRESS_ERROR_CODE,
    decode: (value) => {
      const error = decodeError(value);
      return error && { family: value[0] ?? 0, ...error };
    },
    encode: ({ family, ...error }) => encodeError(error, family),
  },
  software: {
    type: SOFTWARE,
    decode: (value) => new TextDecoder().decode(value),
    encode: (text) => new TextEncoder().encode(text),
  },
};

type FieldName = keyof typeof CODECS;

const NAMES: ReadonlyMap<number, FieldName> = new Map(
  Object.entries(CODECS).map(([name, { type }]) => [type, name as FieldName]),
);

export interface DecodedFields {
  readonly fields: TurnFields;
  readonly unknownTypes: readonly number[];
  readonly faultyTypes: readonly number[];
}

/** Reads all attributes; of a repeated one the first counts (RL-3). */
export function decodeFields(frame: StunFrame): DecodedFields {
  const fields: Record<string, unknown> = {};
  const relayed: SocketAddress[] = [];
  const unknownTypes = new Set<number>();
  const faultyTypes = new Set<number>();
  const seen = new Set<number>();
  for (const { type, value } of frame.attributes) {
    const name = NAMES.get(type);
    if (name === undefined) {
      if (type < COMPREHENSION_OPTIONAL && type !== MAPPED_ADDRESS) unknownTypes.add(type);
    } else if (name === "relayedAddresses") {
      const address = CODECS[name].decode(value, frame.transactionId);
      if (address === undefined) faultyTypes.add(type);
      else if (!relayed.some((other) => other.address.length === address.address.length))
        relayed.push(address);
    } else if (!seen.has(type)) {
      const decoded = CODECS[name].decode(value, frame.transactionId);
      if (decoded === undefined) faultyTypes.add(type);
      else fields[name] = decoded;
    }
    seen.add(type);
  }
  if (relayed.length > 0) fields["relayedAddresses"] = relayed;
  return { fields: fields as TurnFields, unknownTypes: [...unknownTypes], faultyTypes: [...faultyTypes] };
}

/** In the order of the fields. */
export function encodeFields(fields: TurnFields, transactionId: Uint8Array): readonly StunAttribute[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    // Each row writes what the field of its name holds.
    const codec = CODECS[name as FieldName] as AttributeCodec<unknown>;
    const values: readonly unknown[] = name === "relayedAddresses" ? value : [value];
    return values.map((one) => ({ type: codec.type, value: codec.encode(one, transactionId) }));
  });
}

function bytes(type: number): AttributeCodec<Uint8Array> {
  return { type, decode: (value) => value, encode: (value) => value };
}

function xorAddress(type: number): AttributeCodec<SocketAddress> {
  return {
    type,
    decode: (value, transactionId) => {
      const result = parseXorAddress(value, transactionId);
      return result.ok ? result.value : undefined;
    },
    encode: toXorAddress,
  };
}

/** One byte that means something, and three reserved ones. */
function firstByte(type: number): AttributeCodec<number> {
  return {
    type,
    decode: (value) => (value.length === 4 ? value[0] : undefined),
    encode: (byte) => Uint8Array.of(byte, 0, 0, 0),
  };
}

function decodeError(value: Uint8Array): TurnError | undefined {
  const hundreds = (value[2] ?? 0) & 0x07;
  const number = value[3] ?? 0;
  if (value.length < 4 || hundreds < 3 || hundreds > 6 || number > 99) return undefined;
  return { code: hundreds * 100 + number, phrase: new TextDecoder().decode(value.subarray(4)) };
}

function encodeError({ code, phrase }: TurnError, family: number): Uint8Array {
  const text = new TextEncoder().encode(phrase);
  const value = new Uint8Array(4 + text.length);
  value[0] = family;
  value[2] = Math.floor(code / 100);
  value[3] = code % 100;
  value.set(text, 4);
  return value;
}

function decodeTypes(value: Uint8Array): readonly number[] | undefined {
  if (value.length % 2 !== 0) return undefined;
  const view = viewOf(value);
  return Array.from({ length: value.length / 2 }, (_, i) => view.getUint16(2 * i));
}

function encodeTypes(types: readonly number[]): Uint8Array {
  return Uint8Array.from(types.flatMap((type) => [type >> 8, type & 0xff]));
}

function encodeU32(value: number): Uint8Array {
  const encoded = new Uint8Array(4);
  viewOf(encoded).setUint32(0, value);
  return encoded;
}

function viewOf(of: Uint8Array): DataView {
  return new DataView(of.buffer, of.byteOffset, of.length);
}
