/** Where a datagram goes: STUN to the agents, handshakes to the device, nothing else here (SN §5.7). */
import { copyOf, equalSocketAddress, formatSocketAddress, toHex } from "../base/index.ts";
import { ICE, type RequestVerdict } from "../ice/index.ts";
import { type BindingMessage, isStunShaped, type MalformedBinding, parseBinding } from "../stun/index.ts";
import { advance, advanceDevice } from "./advance.ts";
import { STRANGER_WARN_MS } from "./constants.ts";
import type { ConnectionCounter, Datagram, DatagramOutcome } from "./face.ts";
import { unwrap } from "./relay-inbound.ts";
import { type Connection, type ConnectionsState, count, fragmentsKey, wasRecentlyClosed } from "./state.ts";

const MESSAGE_BYTES = { 1: 148, 2: 92, 3: 64 } as const;
const DATA_BYTES_MIN = 32;
const HEX_BYTES_MAX = 512;
const COOKIE_LOCALS_MAX = 256;

const CONSUMED: DatagramOutcome = { kind: "consumed" };

export function handleDatagram(state: ConnectionsState, datagram: Datagram): DatagramOutcome {
  const arrival = unwrap(state, datagram);
  return arrival.kind === "done" ? arrival.outcome : handleFromPeer(state, arrival.datagram);
}

/** Rows 3 to 5; channel data within channel data is not looked for (SN-101). */
function handleFromPeer(state: ConnectionsState, datagram: Datagram): DatagramOutcome {
  if (isStunShaped(datagram.bytes)) return handleStun(state, datagram);
  const type = wireguardType(datagram.bytes);
  if (type === undefined) {
    count(state, "unknown_format");
    state.log.debug?.("unknown format", {
      from: formatSocketAddress(datagram.from),
      bytes: datagram.bytes.length,
      hex: toHex(datagram.bytes.subarray(0, HEX_BYTES_MAX)),
    });
    return { kind: "unknown-format" };
  }
  // Transport messages of known sessions never come here: the plane has opened them (SN-128).
  if (type === 4) return rejectStranger(state, datagram, receiverOf(datagram.bytes, 4));
  const receiver = type === 1 ? undefined : receiverOf(datagram.bytes, type === 2 ? 8 : 4);
  if (receiver !== undefined && state.device.peerById(receiver >>> 8) === undefined) {
    return rejectStranger(state, datagram, receiver);
  }
  return handleHandshake(state, datagram);
}

function handleStun(state: ConnectionsState, datagram: Datagram): DatagramOutcome {
  const message = parseBinding(datagram.bytes);
  if (!message.ok) return dropStun(state, datagram, counterOf(message.reason));
  switch (message.value.kind) {
    case "request":
      return handleRequest(state, datagram, message.value);
    case "success":
    case "error":
      return handleAnswer(state, datagram, message.value);
    case "indication":
      return CONSUMED;
  }
}

/** Several connections may have the same fragments; the one whose password fits is meant (SN-14). */
function handleRequest(
  state: ConnectionsState,
  datagram: Datagram,
  request: Extract<BindingMessage, { kind: "request" }>,
): DatagramOutcome {
  const candidates = state.byFragments.get(fragmentsKey(request.receiver, request.sender));
  if (candidates === undefined) return dropStun(state, datagram, "stun_unmatched");
  const way = { source: datagram.from, destination: datagram.local };
  for (const connection of candidates) {
    const verdict = ICE.handleRequest(connection.agent, state.now, request, way);
    if (verdict === "bad-integrity") continue;
    advance(state, connection);
    if (verdict === "accepted") knowSource(state, connection, datagram);
    const counter = REQUEST_COUNTERS[verdict];
    return counter === undefined ? CONSUMED : dropStun(state, datagram, counter, connection);
  }
  return dropStun(state, datagram, "stun_bad_integrity");
}

/**
 * A client's handshake comes beside its nomination, and the plane sees both before we do: its source must be known from
 * the first check on, else it is taken for a stranger's (PG-160).
 */
function knowSource(
  { hostAddresses, commands }: ConnectionsState,
  { phase }: Connection,
  { from, local }: Datagram,
): void {
  if (phase.kind !== "connecting" || !hostAddresses.some((own) => equalSocketAddress(own, local))) return;
  commands.push({ kind: "know-source", source: { address: copyOf(from.address), port: from.port } });
}

function handleAnswer(
  state: ConnectionsState,
  datagram: Datagram,
  answer: Extract<BindingMessage, { kind: "success" | "error" }>,
): DatagramOutcome {
  const connection = state.byTransaction.get(toHex(answer.frame.transactionId));
  const verdict = connection && ICE.handleAnswer(connection.agent, state.now, answer, datagram.from);
  if (connection === undefined || verdict === "unmatched") return dropStun(state, datagram, "stun_unmatched");
  if (verdict === "bad-integrity") return dropStun(state, datagram, "stun_bad_integrity", connection);
  advance(state, connection);
  return CONSUMED;
}

const REQUEST_COUNTERS: Readonly<Record<RequestVerdict, ConnectionCounter | undefined>> = {
  accepted: undefined,
  "bad-integrity": "stun_bad_integrity",
  "unknown-username": "stun_unmatched",
  "unknown-interface": "stun_unknown_interface",
  "role-conflict": "stun_role_conflict",
  "nomination-refused": "stun_role_conflict",
  "withdrawn-source": "stun_unmatched",
  "over-limit": "candidate_over_limit",
};

function counterOf(reason: MalformedBinding): ConnectionCounter {
  if (reason === "bad-fingerprint") return "stun_bad_fingerprint";
  return reason === "not-binding" ? "stun_unmatched" : "stun_malformed";
}

function dropStun(
  state: ConnectionsState,
  { from }: Datagram,
  counter: ConnectionCounter,
  connection?: Connection,
): DatagramOutcome {
  count(state, counter, connection);
  const emit = counter === "stun_unmatched" ? state.log.trace : state.log.debug;
  emit?.("STUN dropped", { from: formatSocketAddress(from), counter });
  return { kind: "dropped", counter };
}

function handleHandshake(
  state: ConnectionsState,
  { bytes, from, local, isJudged = false }: Datagram,
): DatagramOutcome {
  const outcome = state.device.handleHandshake(state.now, { datagram: bytes, source: from, isJudged });
  if (outcome.kind === "cookie-asked") {
    if (state.cookieLocals.size < COOKIE_LOCALS_MAX) state.cookieLocals.set(formatSocketAddress(from), local);
  } else if (outcome.kind === "dropped" && outcome.reason === "wg_unknown_peer") {
    return rejectStranger(state, { bytes, from, local }, undefined);
  }
  const connection = outcome.kind === "cookie-asked" ? undefined : connectionOf(state, outcome.peer?.slot);
  advanceDevice(state);
  if (connection !== undefined && state.byId.get(connection.id) === connection) advance(state, connection);
  if (outcome.kind !== "dropped") return CONSUMED;
  count(state, "wg_rejected", connection);
  return { kind: "dropped", counter: "wg_rejected" };
}

function connectionOf(state: ConnectionsState, slot: number | undefined): Connection | undefined {
  return slot === undefined ? undefined : state.bySlot.get(slot);
}

/**
 * A message for nobody. Just after a connection ended that is normal; on a client always, because it
 * changes gateways. On a gateway it is worth a line a minute (SN-103).
 */
function rejectStranger(
  state: ConnectionsState,
  { from }: Datagram,
  index: number | undefined,
): DatagramOutcome {
  count(state, "unknown_connection");
  const isExpected =
    state.options.role === "client" ||
    wasRecentlyClosed(state, ({ peerId }) => index === undefined || peerId === index >>> 8);
  if (isExpected) {
    state.log.debug?.("packet for no connection", { from: formatSocketAddress(from) });
  } else {
    const { since, count: before } = state.strangers ?? { since: undefined, count: 0 };
    const isTime = since === undefined || state.now - since >= STRANGER_WARN_MS;
    state.strangers = isTime ? { since: state.now, count: 0 } : { since, count: before + 1 };
    if (isTime)
      state.log.warn?.("packets for no connection", { from: formatSocketAddress(from), more: before });
  }
  return { kind: "dropped", counter: "unknown_connection" };
}

/** SN-102: a known type with three zero bytes behind it, and the length of that type. */
function wireguardType(bytes: Uint8Array): 1 | 2 | 3 | 4 | undefined {
  if (bytes.length < DATA_BYTES_MIN || bytes[1] !== 0 || bytes[2] !== 0 || bytes[3] !== 0) return undefined;
  const type = bytes[0];
  if (type === 4) return 4;
  if (type !== 1 && type !== 2 && type !== 3) return undefined;
  return bytes.length === MESSAGE_BYTES[type] ? type : undefined;
}

function receiverOf(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(offset, true);
}
