/** The relay's machine (RL §4 to §8, RL-74): see `server-face.ts` for how to drive it. */
import { equalIp, type Instant, type IpAddress, type SocketAddress } from "../base/index.ts";
import { METHOD_BINDING } from "../stun/index.ts";
import {
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_CREATE_PERMISSION,
  METHOD_REFRESH,
  METHOD_SEND,
  parseTurn,
} from "../turn/index.ts";
import { endClient, handleAllocate, handlePortBound } from "./allocate.ts";
import { expire } from "./allocation.ts";
import { authenticate, keyOf } from "./authenticate.ts";
import { handleChannelBind, handleCreatePermission, handleRefresh } from "./requests.ts";
import { isWorthLine, methodName, refuse, refuseStranger, succeed } from "./respond.ts";
import type { ClientDatagram, RelayStats, TurnServer, TurnServerOptions } from "./server-face.ts";
import {
  type AuthenticatedRequest,
  type ControlRequest,
  countDrop,
  createState,
  type ServerState,
  unixSecondsOf,
} from "./state.ts";

export function createTurnServer(options: TurnServerOptions): TurnServer {
  const state = createState(options);
  return {
    handleClient(now, input) {
      expire(state, now);
      handleClient(state, now, input);
    },
    handlePortBound(now, { token, result }) {
      expire(state, now);
      handlePortBound(state, now, token, result);
    },
    handleWallClock(now, unix) {
      state.unixEpoch = unix - now;
    },
    handleStreamEnd(now, client) {
      expire(state, now);
      endClient(state, client);
    },
    handleTimeout: (now) => expire(state, now),
    pollTimeout: () => state.timers.first()?.dueAt,
    pollCommand: () => state.commands.shift(),
    pollTransmit: () => state.transmits.shift(),
    startDrain() {
      state.isDraining = true;
    },
    stats: () => statsOf(state),
  };
}

function statsOf(state: ServerState): RelayStats {
  return {
    allocations: state.allocations.size,
    pending: state.pending.size,
    reservations: state.reservations.size,
    boundChannels: state.bound,
    coolingChannels: state.cooling,
    responses: new Map(state.responses),
    drops: new Map(state.drops),
  };
}

function handleClient(state: ServerState, now: Instant, input: ClientDatagram): void {
  const { datagram, client, local } = input;
  if (!isPlausibleSource(state, client)) return countDrop(state, "bad_source");
  const parsed = parseTurn(datagram);
  if (!parsed.ok) {
    countDrop(state, "malformed");
    const { debug } = state.log;
    if (debug !== undefined && isWorthLine(state, now, "debug")) {
      debug("malformed control message", { client, reason: parsed.reason });
    }
    return;
  }
  const { frame } = parsed.value;
  if (frame.class !== "request") {
    const isSend = frame.class === "indication" && frame.method === METHOD_SEND;
    return countDrop(state, isSend ? "send_indication" : "not_request");
  }
  const request: ControlRequest = { message: parsed.value, client, local };
  if (frame.method === METHOD_BINDING) handleBinding(state, now, request);
  else handleOwned(state, now, request);
}

/** Where no client can be: an answer would go to somebody who did not ask, or to ourselves (RL-13). */
function isPlausibleSource({ options }: ServerState, { address, port }: SocketAddress): boolean {
  const isOwn = [options.publicIp4, options.publicIp6].some((own) => own && equalIp(own, address));
  return port !== 0 && !(isOwn && port === options.listenPort) && isUnicast(address);
}

function isUnicast(address: IpAddress): boolean {
  const [first = 0] = address;
  if (address.every((byte) => byte === 0) || address.every((byte) => byte === 0xff)) return false;
  return address.length === 4 ? first < 224 || first > 239 : first !== 0xff;
}

function handleBinding(state: ServerState, now: Instant, request: ControlRequest): void {
  const { message, client } = request;
  const { unknownTypes } = message;
  const isRefused = unknownTypes.length > 0;
  if (!state.rates.take(now, isRefused ? "refusal" : "binding", client.address)) {
    return countDrop(state, "rate");
  }
  if (isRefused) refuseStranger(state, request, 420, { fields: { unknownAttributes: unknownTypes } });
  else succeed(state, request, { mappedAddress: client });
}

const HANDLERS: Readonly<
  Record<number, (state: ServerState, now: Instant, request: AuthenticatedRequest) => void>
> = {
  [METHOD_ALLOCATE]: handleAllocate,
  [METHOD_REFRESH]: handleRefresh,
  [METHOD_CREATE_PERMISSION]: handleCreatePermission,
  [METHOD_CHANNEL_BIND]: handleChannelBind,
};

/** Every request but Binding: its sender must prove who it is before anything else is looked at (RL-15). */
function handleOwned(state: ServerState, now: Instant, request: ControlRequest): void {
  const { message, client } = request;
  const handle = HANDLERS[message.frame.method];
  const result = authenticate(state, now, request);
  if (result.kind === "refused") {
    // An unknown method is nobody's client: not worth an answer (RL-14).
    if (handle === undefined) return countDrop(state, "unknown_method");
    if (!state.rates.take(now, "refusal", client.address)) return countDrop(state, "rate");
    const nonce = new TextEncoder().encode(state.nonces.issue(unixSecondsOf(state, now), client));
    const realm = new TextEncoder().encode(state.options.realm);
    state.log.debug?.("request not authenticated", {
      method: methodName(message.frame.method),
      code: result.code,
      client,
    });
    const key = result.user && keyOf(state, result.user);
    return refuseStranger(state, request, result.code, { fields: { realm, nonce }, key });
  }
  const own = result.request;
  const isWithinRate =
    own.allocation?.requests.take(now) ?? state.rates.take(now, "authenticated", client.address);
  if (!isWithinRate) return countDrop(state, "rate");
  if (message.unknownTypes.length > 0) {
    return refuse(state, now, own, 420, { unknownAttributes: message.unknownTypes });
  }
  if (handle === undefined || message.faultyTypes.length > 0) return refuse(state, now, own, 400);
  handle(state, now, own);
}
