/** Requests of a relay client: what they carry and when they are sent (RL-82, RL-85, RL-90). */
import {
  after,
  formatSocketAddress,
  type Instant,
  randomBytes,
  type SocketAddress,
  toHex,
} from "../base/index.ts";
import { FAMILY_IPV6, METHOD_BINDING, TRANSACTION_ID_BYTES } from "../stun/index.ts";
import type { TurnFields } from "./attributes.ts";
import {
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  ON_DEMAND_MS,
  REALM_BYTES_MAX,
  RELAY_USERNAME_BYTES_MAX,
  REQUEST_FACTOR,
  REQUEST_FIRST_MS,
  REQUEST_SENDS,
  TRANSPORT_UDP,
} from "./constants.ts";
import { longTermKey } from "./credentials.ts";
import { encodeTurn } from "./message.ts";
import type { RelayCredentials } from "./relay-client-face.ts";
import {
  type RelayClientState,
  type RelayRequest,
  type RequestPurpose,
  type RequestSignature,
  unixTime,
} from "./relay-client-state.ts";

/** User name, realm and nonce of the greatest length, and all else that a request may carry. */
const REQUEST_BYTES_MAX = 2_304;

const METHODS: Readonly<Record<RequestPurpose["kind"], number>> = {
  binding: METHOD_BINDING,
  allocate: METHOD_ALLOCATE,
  refresh: METHOD_REFRESH,
  delete: METHOD_REFRESH,
  bind: METHOD_CHANNEL_BIND,
};

export function methodOf({ purpose }: RelayRequest): number {
  return METHODS[purpose.kind];
}

export interface NewRequest {
  readonly purpose: RequestPurpose;
  readonly to: SocketAddress;
  readonly isOnDemand?: boolean;
  readonly isQuestion?: boolean;
  readonly rounds?: number;
}

export function sendRequest(state: RelayClientState, now: Instant, wanted: NewRequest): void {
  const { purpose, to, isOnDemand = false, isQuestion = false, rounds = 0 } = wanted;
  const transactionId = randomBytes(state.options.random, TRANSACTION_ID_BYTES);
  const signature = purpose.kind === "binding" ? undefined : signatureOf(state);
  const request: RelayRequest = {
    purpose,
    transaction: toHex(transactionId),
    to,
    datagram: encodeRequest(state, { purpose, transactionId, signature }),
    isOnDemand,
    isQuestion,
    signature,
    rounds,
    madeAt: now,
    sends: 0,
    sentAt: now,
    dueAt: now,
  };
  state.requests.set(request.transaction, request);
  send(state, now, request);
}

/** Repeats what is due, byte by byte the same. @returns what has been given up and is forgotten */
export function repeatRequests(state: RelayClientState, now: Instant): readonly RelayRequest[] {
  const givenUp: RelayRequest[] = [];
  for (const request of [...state.requests.values()]) {
    if (now < request.dueAt) continue;
    if (request.sends < (request.isOnDemand ? 1 : REQUEST_SENDS)) send(state, now, request);
    else {
      state.requests.delete(request.transaction);
      givenUp.push(request);
    }
  }
  return givenUp;
}

function send(state: RelayClientState, now: Instant, request: RelayRequest): void {
  const interval = request.isOnDemand ? ON_DEMAND_MS : REQUEST_FIRST_MS * REQUEST_FACTOR ** request.sends;
  request.sends++;
  request.sentAt = now;
  request.dueAt = after(now, Math.round(interval));
  if (request.purpose.kind === "bind") request.purpose.channel.sentAt = now;
  state.transmits.push({ to: request.to, datagram: request.datagram });
  state.wire.debug?.("TURN request", {
    method: request.purpose.kind,
    transaction: request.transaction,
    relay: formatSocketAddress(request.to),
    sends: request.sends,
  });
}

/** One datagram, and no answer is awaited (RL-113). */
export function sendDeletion(state: RelayClientState, to: SocketAddress): void {
  const transactionId = randomBytes(state.options.random, TRANSACTION_ID_BYTES);
  const signature = signatureOf(state);
  const datagram = encodeRequest(state, { purpose: { kind: "delete" }, transactionId, signature });
  state.transmits.push({ to, datagram });
}

/** A first request in the rfc dialect goes out unsigned: coturn refuses credentials without a nonce. */
function signatureOf({ options, credentials, nonce }: RelayClientState): RequestSignature | undefined {
  if (options.dialect === "rfc" && nonce === undefined) return undefined;
  const key = longTermKey({ ...credentials, realm: options.realm });
  return { credentials, key, hasNonce: nonce !== undefined };
}

function encodeRequest(
  state: RelayClientState,
  request: {
    readonly purpose: RequestPurpose;
    readonly transactionId: Uint8Array;
    readonly signature: RequestSignature | undefined;
  },
): Uint8Array {
  const { purpose, transactionId, signature } = request;
  const fields = { ...fieldsOf(state, purpose), ...(signature && credentialFields(state, signature)) };
  const into = new Uint8Array(REQUEST_BYTES_MAX);
  const content = { method: METHODS[purpose.kind], class: "request", transactionId, fields } as const;
  return into.slice(0, encodeTurn(into, content, signature && { key: signature.key }));
}

/** What a request carries besides credentials; coturn refuses REQUESTED-TRANSPORT in a Refresh (RL-85). */
function fieldsOf({ options }: RelayClientState, purpose: RequestPurpose): TurnFields {
  const { software, dialect } = options;
  switch (purpose.kind) {
    case "binding":
    case "refresh":
      return { software };
    case "delete":
      return { lifetimeSeconds: 0, software };
    case "allocate":
      return {
        requestedTransport: TRANSPORT_UDP,
        additionalFamily: FAMILY_IPV6,
        ...(dialect === "rfc" && { additionalFamilyCoturn: FAMILY_IPV6 }),
        software,
      };
    case "bind":
      return { peerAddress: purpose.channel.peer, channelNumber: purpose.channel.number, software };
  }
}

function credentialFields(
  { options, nonce }: RelayClientState,
  { credentials }: RequestSignature,
): TurnFields {
  return {
    username: utf8(credentials.username),
    realm: utf8(options.realm),
    ...(nonce !== undefined && { nonce }),
  };
}

/** Whether a new request may use our credentials: they may name the second in which they expire (RL-118). */
export function canSign(state: RelayClientState, now: Instant): boolean {
  const expiry = /^(\d{1,15}):/.exec(state.credentials.username)?.[1];
  return expiry === undefined || unixTime(state, now) < Number(expiry) * 1_000;
}

/** Whether they fit into messages (RL-118). */
export function areUsableCredentials({ username }: RelayCredentials, realm: string): boolean {
  const isText = (text: string) => ![...text].some((char) => char < " " || char === "\u007f");
  return (
    isText(username) &&
    isText(realm) &&
    utf8(username).length <= RELAY_USERNAME_BYTES_MAX &&
    utf8(realm).length <= REALM_BYTES_MAX
  );
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
