/** Allocate (RL-17 to RL-22): checks in the order of RL-17, then sockets, then the answer. */
import {
  after,
  contains,
  formatSocketAddress,
  fromHex,
  type Instant,
  type SocketAddress,
  toHex,
} from "../base/index.ts";
import type { IpFamily, PortResult } from "../plane/index.ts";
import { FAMILY_IPV4, FAMILY_IPV6 } from "../stun/index.ts";
import { TRANSPORT_UDP, type TurnFields } from "../turn/index.ts";
import { endFamilies, noteOwner, setExpiry } from "./allocation.ts";
import {
  LIFETIME_SECONDS_DEFAULT,
  LIFETIME_SECONDS_MAX,
  PORT_TRIES_MAX,
  RATES,
  SOFTWARE_NAME,
  SOFTWARE_SHOWN_MAX,
  STREAM_CLIENTS,
} from "./constants.ts";
import { redeem, reserveNext, returnPort, takePort } from "./ports.ts";
import { createRateLimit } from "./rate-limit.ts";
import { errorOf, type RefusalCode, refuse, succeed, userShown } from "./respond.ts";
import type {
  Allocation,
  AuthenticatedRequest,
  PendingAllocation,
  PortChoice,
  ServerState,
} from "./state.ts";

export function handleAllocate(state: ServerState, now: Instant, request: AuthenticatedRequest): void {
  const { allocation, message, client } = request;
  if (allocation !== undefined) {
    if (isSameRequest(allocation, request)) answer(state, now, request, allocation);
    else refuse(state, now, request, 437);
    return;
  }
  const pending = state.pending.get(formatSocketAddress(client));
  if (pending !== undefined) {
    // Its answer is on the way; another request finds an allocation in the making.
    if (idOf(pending.request) !== idOf(request)) refuse(state, now, request, 437);
    return;
  }
  const { fields } = message;
  const fault = faultOf(fields);
  if (fault !== undefined) return refuse(state, now, request, fault);
  const families = familiesFor(state.families, fields);
  if ("code" in families) return refuse(state, now, request, families.code);
  if (isFull(state)) return refuse(state, now, request, 508);
  const choice = choiceOf(state, request);
  if (choice === undefined) return refuse(state, now, request, 508);
  bindPort(state, now, { request, ...families, choice, tried: [] });
}

/** How the sockets of a pending allocation turned out (RL-20). */
export function handlePortBound(state: ServerState, now: Instant, token: number, result: PortResult): void {
  const pending = [...state.pending.values()].find((one) => one.token === token);
  if (pending === undefined) return;
  const { request, port, choice } = pending;
  state.pending.delete(formatSocketAddress(request.client));
  if (pending.isAbandoned) {
    if (result === "ok") state.commands.push({ kind: "free-port", port, families: pending.families });
    return returnPort(state, choice, port);
  }
  if (result === "ok") {
    answer(state, now, request, createAllocation(state, now, pending));
    return;
  }
  returnPort(state, choice, port);
  const tried = [...pending.tried, port];
  if (result === "in-use" && tried.length < PORT_TRIES_MAX) {
    bindPort(state, now, { ...pending, tried });
    return;
  }
  refuse(state, now, request, 508);
}

/** The end of a stream is that of its client (RL-202). */
export function endClient(state: ServerState, client: SocketAddress): void {
  const key = formatSocketAddress(client);
  const pending = state.pending.get(key);
  if (pending !== undefined) state.pending.set(key, { ...pending, isAbandoned: true });
  const allocation = state.allocations.get(key);
  if (allocation !== undefined) {
    endFamilies(state, allocation, [...allocation.expiry.keys()], "its stream ended");
  }
}

type PortWish = Omit<PendingAllocation, "token" | "port" | "isAbandoned">;

function bindPort(state: ServerState, now: Instant, wish: PortWish): void {
  const { request, families, choice, tried } = wish;
  const port = takePort(state, choice, tried);
  if (port === undefined) return refuse(state, now, request, 508);
  const token = state.nextToken++;
  state.pending.set(formatSocketAddress(request.client), { ...wish, token, port, isAbandoned: false });
  state.commands.push({ kind: "bind-port", token, port, families });
}

function isSameRequest({ made }: Allocation, request: AuthenticatedRequest): boolean {
  return made.transactionId === idOf(request) && made.salt === request.user.salt;
}

function idOf({ message }: AuthenticatedRequest): string {
  return toHex(message.frame.transactionId);
}

function faultOf(fields: TurnFields): RefusalCode | undefined {
  const { requestedTransport, reservationToken, evenPort, requestedFamily } = fields;
  if (requestedTransport === undefined) return 400;
  if (requestedTransport !== TRANSPORT_UDP) return 442;
  if (reservationToken === undefined) return undefined;
  const isBeside =
    evenPort !== undefined || requestedFamily !== undefined || additionalOf(fields) !== undefined;
  return isBeside ? 400 : undefined;
}

function additionalOf({ additionalFamily, additionalFamilyCoturn }: TurnFields): number | undefined {
  return additionalFamily ?? additionalFamilyCoturn;
}

interface FamilyChoice {
  readonly families: readonly IpFamily[];
  readonly missing: IpFamily | undefined;
}

/** The table of RL-19. */
function familiesFor(
  served: readonly IpFamily[],
  fields: TurnFields,
): FamilyChoice | { readonly code: RefusalCode } {
  const additional = additionalOf(fields);
  const requested = fields.requestedFamily;
  if (additional === undefined) {
    const family = toFamily(requested ?? FAMILY_IPV4);
    if (family === undefined || !served.includes(family)) return { code: 440 };
    return { families: [family], missing: undefined };
  }
  if (requested !== undefined || additional === FAMILY_IPV4) return { code: 400 };
  if (additional !== FAMILY_IPV6) return { code: 440 };
  return { families: served, missing: ([4, 6] as const).find((family) => !served.includes(family)) };
}

function toFamily(value: number): IpFamily | undefined {
  if (value === FAMILY_IPV4) return 4;
  return value === FAMILY_IPV6 ? 6 : undefined;
}

function isFull({ isDraining, allocations, pending, options }: ServerState): boolean {
  return isDraining || allocations.size + pending.size >= options.limits.allocationsMax;
}

/** `undefined`: the token is unknown, expired, or somebody else's. */
function choiceOf(state: ServerState, { message, user }: AuthenticatedRequest): PortChoice | undefined {
  const { reservationToken, evenPort } = message.fields;
  if (reservationToken !== undefined) {
    const port = redeem(state, toHex(reservationToken), user.salt);
    return port === undefined ? undefined : { kind: "reserved", port };
  }
  if (evenPort === undefined) return { kind: "any" };
  return { kind: evenPort ? "even-with-next" : "even" };
}

function createAllocation(state: ServerState, now: Instant, pending: PendingAllocation): Allocation {
  const { request, port, families, missing, choice } = pending;
  const { client, user, nonce, message } = request;
  const key = formatSocketAddress(client);
  const holder = state.options.limits.allocationsPerUser === 0 ? key : user.salt;
  const allocation: Allocation = {
    kind: "allocation",
    client,
    port,
    expiry: new Map(),
    made: { transactionId: idOf(request), salt: user.salt },
    missing,
    reservationToken:
      choice.kind === "even-with-next"
        ? reserveNext(state, now, { port, salt: user.salt, holder })
        : undefined,
    requests: createRateLimit(RATES.authenticated),
    byChannel: new Map(),
    byPeer: new Map(),
    owner: user.salt,
    nonce: { text: nonce, uses: 1 },
    dueAt: undefined,
    place: -1,
  };
  endOldest(state, user.salt, client);
  state.allocations.set(key, allocation);
  noteOwner(state, allocation);
  const seconds = lifetimeOf(message.fields.lifetimeSeconds);
  setExpiry(state, allocation, families, after(now, 1000 * seconds));
  state.log.info?.("allocation made", {
    client,
    port,
    families,
    lifetimeSeconds: seconds,
    user: userShown(user.raw),
    software: softwareShown(message.fields.software),
  });
  return allocation;
}

/**
 * Makes room among the allocations of a user, who roamed and left old ones behind (RL-17). Those of streams
 * are counted apart: whoever finds UDP open again needs both until its connections have moved.
 */
function endOldest(state: ServerState, salt: string, client: SocketAddress): void {
  const { allocationsPerUser } = state.options.limits;
  const own = [...(state.byOwner.get(salt) ?? [])].filter((one) => isStream(one.client) === isStream(client));
  if (allocationsPerUser === 0) return;
  for (const old of own.slice(0, Math.max(0, own.length - allocationsPerUser + 1))) {
    endFamilies(state, old, [...old.expiry.keys()], "replaced by a newer one of its user");
  }
}

function isStream({ address }: SocketAddress): boolean {
  return contains(STREAM_CLIENTS, address);
}

/** RL-18: not shorter than the default. */
export function lifetimeOf(requested: number | undefined): number {
  const wished = requested ?? LIFETIME_SECONDS_DEFAULT;
  return Math.min(LIFETIME_SECONDS_MAX, Math.max(LIFETIME_SECONDS_DEFAULT, wished));
}

function answer(
  state: ServerState,
  now: Instant,
  request: AuthenticatedRequest,
  allocation: Allocation,
): void {
  const { publicIp4, publicIp6 } = state.options;
  const { port, missing, reservationToken, expiry } = allocation;
  const relayed = ([4, 6] as const).flatMap((family) => {
    const address = family === 4 ? publicIp4 : publicIp6;
    return expiry.has(family) && address !== undefined ? [{ address, port }] : [];
  });
  const token = reservationToken && fromHex(reservationToken);
  const until = Math.min(...expiry.values());
  succeed(state, request, {
    software: SOFTWARE_NAME,
    relayedAddresses: relayed,
    ...(missing && {
      addressError: { family: missing === 4 ? FAMILY_IPV4 : FAMILY_IPV6, ...errorOf(440) },
    }),
    mappedAddress: request.client,
    lifetimeSeconds: Math.floor((until - now) / 1000),
    ...(token && { reservationToken: token }),
  });
}

/** What strangers wrote, for a log line. */
function softwareShown(software: string | undefined): string | undefined {
  return software?.replace(/[^\x20-\x7e]/g, "").slice(0, SOFTWARE_SHOWN_MAX);
}
