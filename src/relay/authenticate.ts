/** Who sends a request (RL-8 to RL-11). The order of the checks is that of RL-9. */
import { formatSocketAddress, type Instant } from "../base/index.ts";
import { verifyIntegrity } from "../stun/index.ts";
import {
  longTermKey,
  parseRelayUsername,
  printableAscii,
  type RelayUsername,
  relayPassword,
} from "../turn/index.ts";
import { NONCE_USES_MAX } from "./constants.ts";
import {
  type Allocation,
  type AuthenticatedRequest,
  type ControlRequest,
  type ServerState,
  unixSecondsOf,
} from "./state.ts";

export type Authentication =
  | { readonly kind: "authenticated"; readonly request: AuthenticatedRequest }
  /** `user`: usable credentials, with whose key the refusal is signed (RL-10). */
  | { readonly kind: "refused"; readonly code: 401 | 438; readonly user?: RelayUsername };

export function authenticate(state: ServerState, now: Instant, request: ControlRequest): Authentication {
  const { frame, fields } = request.message;
  if (frame.integrityOffset === undefined || fields.username === undefined) return refused(401);
  const username = parseRelayUsername(fields.username);
  if (!username.ok || isExpired(state, now, username.value)) return refused(401);
  const user = username.value;
  if (fields.nonce === undefined) return refused(401, user);
  const nonce = printableAscii(fields.nonce);
  if (nonce === undefined || !state.nonces.isFresh(nonce, unixSecondsOf(state, now), request.client)) {
    return refused(438, user);
  }
  const key = keyOf(state, user);
  if (!verifyIntegrity(frame, key)) return refused(401, user);
  const allocation = state.allocations.get(formatSocketAddress(request.client));
  if (allocation !== undefined && !takeUse(allocation, nonce)) return refused(438, user);
  return { kind: "authenticated", request: { ...request, user, nonce, key, allocation } };
}

/** The key of a user (RL-2, RL-7): no record is kept of whom the portal gave credentials. */
export function keyOf({ options }: ServerState, user: RelayUsername): Uint8Array {
  const password = relayPassword(options.stampSecret, user);
  return longTermKey({ username: user.raw, realm: options.realm, password });
}

/** Credentials are good up to and including the second that they name. */
function isExpired(state: ServerState, now: Instant, { expiry }: RelayUsername): boolean {
  return expiry < unixSecondsOf(state, now);
}

function takeUse(allocation: Allocation, nonce: string): boolean {
  const uses = allocation.nonce.text === nonce ? allocation.nonce.uses : 0;
  if (uses >= NONCE_USES_MAX) return false;
  allocation.nonce = { text: nonce, uses: uses + 1 };
  return true;
}

function refused(code: 401 | 438, user?: RelayUsername): Authentication {
  return { kind: "refused", code, ...(user && { user }) };
}
