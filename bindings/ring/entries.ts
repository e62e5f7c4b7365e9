/** Entries of the punt rings as the events and punts of `src/plane`. Bytes are copied. */
import { copyOf, type IpAddress, type SocketAddress } from "../../src/base/index.ts";
import type { DataPunt, PlaneEvent } from "../../src/plane/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";

const { entry: ENTRY } = OFFSETS;
const DATAGRAM_KINDS = {
  [CONSTANTS.EVENT_HANDSHAKE]: "handshake",
  [CONSTANTS.EVENT_STUN]: "stun",
  [CONSTANTS.EVENT_OTHER]: "other",
} as const;

/**
 * @param localPort port of the socket on which datagrams of that family arrive
 * @returns undefined for an unknown kind, which is a defect of the plane
 */
export function readEvent(
  shared: SharedMemory,
  entry: number,
  localPort: (addressBytes: number) => number,
): PlaneEvent | undefined {
  const word = (field: number) => shared.words[(entry + field) >> 2] ?? 0;
  const kind = word(ENTRY.kind);
  const slot = word(ENTRY.slot);
  const generation = word(ENTRY.generation);
  switch (kind) {
    case CONSTANTS.EVENT_HANDSHAKE:
    case CONSTANTS.EVENT_STUN:
    case CONSTANTS.EVENT_OTHER: {
      const from = readFrom(shared, entry);
      const local = { address: readLocal(shared, entry), port: localPort(word(ENTRY.localBytes)) };
      const channel = word(ENTRY.channel);
      const isJudged = kind === CONSTANTS.EVENT_HANDSHAKE && word(ENTRY.detail) === CONSTANTS.JUDGED;
      const bytes = readBytes(shared, entry);
      const event = { kind: DATAGRAM_KINDS[kind], bytes, from, local, ...(isJudged && { isJudged }) };
      return channel === 0 ? event : { ...event, relayed: { relay: from, channel } };
    }
    case CONSTANTS.EVENT_ACTIVITY:
      return { kind: "activity", slot };
    case CONSTANTS.EVENT_WAKE:
      return { kind: "wake", slot };
    case CONSTANTS.EVENT_TOO_LONG:
      return { kind: "too-long", slot };
    case CONSTANTS.EVENT_CONFIRMED:
      return { kind: "confirmed", slot, generation };
    case CONSTANTS.EVENT_COUNTER: {
      const limit = word(ENTRY.detail) === CONSTANTS.LIMIT_REJECT ? "reject" : "rekey";
      return { kind: "counter", slot, generation, limit };
    }
    case CONSTANTS.EVENT_ROAMED:
      return { kind: "roamed", slot, from: readFrom(shared, entry), local: readLocal(shared, entry) };
    default:
      return undefined;
  }
}

export function readPunt(shared: SharedMemory, entry: number): DataPunt | undefined {
  const word = (field: number) => shared.words[(entry + field) >> 2] ?? 0;
  const slot = word(ENTRY.slot);
  const packet = readBytes(shared, entry);
  switch (word(ENTRY.kind)) {
    case CONSTANTS.PUNT_NO_SESSION:
      return { reason: "no-session", slot, packet };
    case CONSTANTS.PUNT_FIRST:
      return { reason: "first", packet };
    case CONSTANTS.PUNT_FLOW:
    case CONSTANTS.PUNT_ICMP_ERROR: {
      const reason = word(ENTRY.kind) === CONSTANTS.PUNT_FLOW ? "flow" : "icmp-error";
      const direction = word(ENTRY.detail) === CONSTANTS.FLOW_IN ? "in" : "out";
      const whose = { direction, ...(slot !== CONSTANTS.NO_SLOT && { slot }), packet } as const;
      if (reason === "icmp-error") return { reason, ...whose };
      return { reason, ...whose, ...(word(ENTRY.flow) !== 0 && { isCounted: true }) };
    }
    case CONSTANTS.PUNT_REFUSED:
      return {
        reason: "refused",
        ...(slot !== CONSTANTS.NO_SLOT && { slot }),
        ...refusalOf(word(ENTRY.detail)),
        packet,
      };
    case CONSTANTS.PUNT_TOO_BIG:
      return { reason: "too-big", slot, packet };
    case CONSTANTS.PUNT_CONTROL_EVENT:
      return { reason: "control-event", slot, packet };
    case CONSTANTS.PUNT_RESOLVER:
      return { reason: "resolver", slot, packet };
    default:
      return undefined;
  }
}

function refusalOf(verdict: number): Pick<Extract<DataPunt, { reason: "refused" }>, "refusal"> {
  if (verdict === CONSTANTS.VERDICT_PROHIBITED) return { refusal: "prohibited" };
  return verdict === CONSTANTS.VERDICT_UNREACHABLE ? { refusal: "unreachable" } : {};
}

function readBytes(shared: SharedMemory, entry: number): Uint8Array {
  const at = shared.words[(entry + ENTRY.at) >> 2] ?? 0;
  const length = shared.words[(entry + ENTRY.length) >> 2] ?? 0;
  return copyOf(shared.bytes.subarray(at, at + length));
}

function readFrom(shared: SharedMemory, entry: number): SocketAddress {
  const port = shared.words[(entry + ENTRY.fromPort) >> 2] ?? 0;
  const address = readAddress(shared, entry + ENTRY.from, entry + ENTRY.fromBytes);
  const scope = shared.words[(entry + ENTRY.fromScope) >> 2] ?? 0;
  return scope === 0 ? { address, port } : { address, port, scope };
}

function readLocal(shared: SharedMemory, entry: number): IpAddress {
  return readAddress(shared, entry + ENTRY.local, entry + ENTRY.localBytes);
}

function readAddress(shared: SharedMemory, at: number, bytesAt: number): IpAddress {
  return copyOf(shared.bytes.subarray(at, at + (shared.words[bytesAt >> 2] ?? 0)));
}
