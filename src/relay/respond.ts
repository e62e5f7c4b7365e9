/** Answers of the relay: success, refusal, and who may be answered how long (RL §12, RL-10, RL-58). */
import type { Instant } from "../base/index.ts";
import { METHOD_BINDING } from "../stun/index.ts";
import {
  encodeTurn,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_CREATE_PERMISSION,
  METHOD_REFRESH,
  TURN_MESSAGE_BYTES_MAX,
  type TurnFields,
} from "../turn/index.ts";
import { DEBUG_EVERY_MS, WARN_EVERY_MS } from "./constants.ts";
import type { AuthenticatedRequest, ControlRequest, ServerState } from "./state.ts";

const PHRASES = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  420: "Unknown Attribute",
  437: "Allocation Mismatch",
  438: "Stale Nonce",
  440: "Address Family not Supported",
  442: "Unsupported Transport Protocol",
  443: "Peer Address Family Mismatch",
  508: "Insufficient Capacity",
} as const;

export type RefusalCode = keyof typeof PHRASES;

const METHODS: Readonly<Record<number, string>> = {
  [METHOD_BINDING]: "binding",
  [METHOD_ALLOCATE]: "allocate",
  [METHOD_REFRESH]: "refresh",
  [METHOD_CREATE_PERMISSION]: "create-permission",
  [METHOD_CHANNEL_BIND]: "channel-bind",
};

export function methodName(method: number): string {
  return METHODS[method] ?? "unknown";
}

export function errorOf(code: RefusalCode): { readonly code: number; readonly phrase: string } {
  return { code, phrase: PHRASES[code] };
}

/** A success; signed if the request was authenticated. */
export function succeed(state: ServerState, request: ControlRequest, fields: TurnFields): void {
  send(state, request, encode(request, "success", fields, request.key));
  count(state, request, "success");
}

/** The refusal of a request whose sender is known. */
export function refuse(
  state: ServerState,
  now: Instant,
  request: AuthenticatedRequest,
  code: RefusalCode,
  fields: TurnFields = {},
): void {
  const error = { errorCode: errorOf(code), ...fields };
  send(state, request, encode(request, "error", error, request.key));
  count(state, request, code);
  complain(state, now, request, code);
}

/**
 * The refusal of whoever has not proved who they are: signed for a client with usable credentials, unless
 * that were longer than what it answers (RL-58).
 */
export function refuseStranger(
  state: ServerState,
  request: ControlRequest,
  code: 401 | 420 | 438,
  { fields, key }: { readonly fields: TurnFields; readonly key?: Uint8Array | undefined },
): void {
  const error = { errorCode: errorOf(code), ...fields };
  const signed = key && encode(request, "error", error, key);
  const isShorter = signed !== undefined && signed.length < request.message.frame.bytes.length;
  send(state, request, isShorter ? signed : encode(request, "error", error, undefined));
  count(state, request, code);
}

/** Whether something that happens again and again is worth a line once more. */
export function isWorthLine(state: ServerState, now: Instant, level: "warn" | "debug"): boolean {
  const key = level === "warn" ? "warnedAt" : "debuggedAt";
  const last = state.complaints[key];
  const every = level === "warn" ? WARN_EVERY_MS : DEBUG_EVERY_MS;
  if (last !== undefined && now - last < every) return false;
  state.complaints[key] = now;
  return true;
}

function complain(state: ServerState, now: Instant, request: AuthenticatedRequest, code: RefusalCode): void {
  const fields = () => ({
    method: methodName(request.message.frame.method),
    code,
    client: request.client,
    user: userShown(request.user.raw),
  });
  if (code === 508) {
    if (isWorthLine(state, now, "warn")) state.log.warn?.("request refused for want of capacity", fields());
  } else if (code === 400 || code === 420 || code === 442) state.log.info?.("request refused", fields());
  else state.log.debug?.("request refused", fields());
}

/** Without the second half of the salt (RL-61). */
export function userShown(username: string): string {
  const start = username.indexOf(":") + 1;
  return `${username.slice(0, start + Math.ceil((username.length - start) / 2))}…`;
}

function encode(
  { message }: ControlRequest,
  kind: "success" | "error",
  fields: TurnFields,
  key: Uint8Array | undefined,
): Uint8Array {
  const { method, transactionId, fingerprintOffset } = message.frame;
  const datagram = new Uint8Array(TURN_MESSAGE_BYTES_MAX);
  const length = encodeTurn(
    datagram,
    { method, class: kind, transactionId, fields },
    { hasFingerprint: fingerprintOffset !== undefined, ...(key && { key }) },
  );
  return datagram.slice(0, length);
}

function send(state: ServerState, { client, local }: ControlRequest, datagram: Uint8Array): void {
  state.transmits.push({ to: client, datagram, ...(local && { from: local }) });
}

function count({ responses }: ServerState, { message }: ControlRequest, result: "success" | number): void {
  const name = `${methodName(message.frame.method)} ${result}`;
  responses.set(name, (responses.get(name) ?? 0) + 1);
}
