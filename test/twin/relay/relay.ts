/**
 * The relay's data path as one would write it down (RL-42 to RL-47): the twin of `assembly/relay`. It knows
 * datagrams only; how the plane packs them into sends is its own affair.
 */
import { equalSocketAddress, type IpAddress, type SocketAddress } from "../../../src/base/index.ts";
import type { RelayBinding } from "../../../src/plane/index.ts";

export interface Datagram {
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
  readonly ecn: number;
}

export type Fate =
  | {
      readonly kind: "sent";
      readonly to: SocketAddress;
      readonly via: Via;
      readonly bytes: Uint8Array;
      readonly ecn: number;
      readonly source: IpAddress | undefined;
      /** With DF. */
      readonly isWhole: boolean;
    }
  | { readonly kind: "punted"; readonly bytes: Uint8Array }
  | { readonly kind: "dropped"; readonly reason: string };

/** The socket: a listening one, or that of an allocation port. */
export type Via = "listening" | number;

/** What becomes of a datagram that a client sends to the listening socket. */
export function fromClient(bindings: readonly RelayBinding[], { from, bytes, ecn }: Datagram): Fate {
  const first = bytes[0];
  if (first === undefined) return dropped("relay_unknown");
  if (first <= 0x03) return bytes.length > 1500 ? dropped("relay_malformed") : { kind: "punted", bytes };
  if (first < 0x40 || first > 0x7f) return dropped("relay_unknown");
  if (bytes.length < 4) return dropped("relay_channel_length");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.getUint16(2);
  const surplus = bytes.length - 4 - length;
  if (surplus < 0 || surplus > 3) return dropped("relay_channel_length");
  const channel = view.getUint16(0);
  const own = bindings.find((one) => one.channel === channel && equalSocketAddress(one.client, from));
  if (own === undefined) return dropped("relay_no_channel");
  const data = bytes.subarray(4, 4 + length);
  if (!own.isHairpin)
    return {
      ...({ kind: "sent", to: own.peer, via: own.port, bytes: data, ecn } as const),
      ...{ source: undefined, isWhole: isSizeCheck(data) },
    };
  const asPeer = { address: own.peer.address, port: own.port };
  const other = bindings.find((one) => one.port === own.peer.port && equalSocketAddress(one.peer, asPeer));
  return other === undefined ? dropped("relay_no_binding") : toClient(other, data, ecn);
}

/** What becomes of a datagram that somebody sends to an allocation port. */
export function fromPeer(
  bindings: readonly RelayBinding[],
  port: number,
  { from, bytes, ecn }: Datagram,
): Fate {
  const own = bindings.find((one) => one.port === port && equalSocketAddress(one.peer, from));
  if (own === undefined) return dropped("relay_no_binding");
  return bytes.length > 65_503 ? dropped("relay_too_long") : toClient(own, bytes, ecn);
}

function toClient({ client, channel, local }: RelayBinding, data: Uint8Array, ecn: number): Fate {
  const bytes = new Uint8Array(4 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, channel);
  view.setUint16(2, data.length);
  bytes.set(data, 4);
  const source = local?.length === client.address.length ? local : undefined;
  return { kind: "sent", to: client, via: "listening", bytes, ecn, source, isWhole: isSizeCheck(data) };
}

/** RL-50: STUN so long that it can only be a check of a path's size. */
function isSizeCheck(data: Uint8Array): boolean {
  if (data.length < 512 || (data[0] ?? 0) > 3) return false;
  return new DataView(data.buffer, data.byteOffset).getUint32(4) === 0x2112_a442;
}

function dropped(reason: string): Fate {
  return { kind: "dropped", reason };
}
