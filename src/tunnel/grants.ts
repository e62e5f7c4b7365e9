/** What the gateway's clients may reach, and until when (TN-50 to TN-55). */
import { equalIp, type Instant, type IpAddress, type UnixMs, type WallClock } from "../base/index.ts";
import type { GatewayResource } from "../portal/protocol/index.ts";
import { reachOf } from "./reach/reach.ts";

/** One client with at least one grant. It outlives the client's connection (TN-50). */
export interface GrantedClient {
  readonly cid: string;
  readonly addresses: readonly IpAddress[];
  readonly grants: ReadonlyMap<string, Grant>;
}

export interface Grant {
  readonly resource: GatewayResource;
  /** When access ends, by the gateway's wall clock; absent: never (TN-53). */
  readonly expiresAt?: UnixMs;
  /** What the portal said of client and actor, by the names of flow logs; absent: there are none (TN-91). */
  readonly subject?: Readonly<Record<string, string>>;
}

export interface Revocation {
  readonly cid: string;
  readonly rid: string;
  readonly reason: "expired" | "revoked" | "not-listed" | "resource-changed" | "goodbye" | "address-taken";
  /** Whether it was the client's last grant: its connection ends with *goodbye* (TN-54). */
  readonly isLast: boolean;
}

export interface ListedAuthorization {
  readonly cid: string;
  readonly rid: string;
  readonly expiresAt?: UnixMs;
}

export interface Grants {
  /**
   * Inserts or replaces a grant: filters and expiry are the new ones (TN-52).
   * Returns what other clients lose because they hold one of the addresses.
   */
  insert(cid: string, addresses: readonly IpAddress[], grant: Grant): readonly Revocation[];
  setExpiry(cid: string, rid: string, expiresAt: UnixMs | undefined): boolean;
  revoke(cid: string, rid: string): readonly Revocation[];
  /** The client left on purpose: everything of it goes (TN-43). */
  removeClient(cid: string, reason: "goodbye" | "address-taken"): readonly Revocation[];
  /** Revokes whatever is not listed; sets the listed expiries (TN-55). */
  reconcile(listed: readonly ListedAuthorization[]): readonly Revocation[];
  /** Filters are replaced; another kind or network revokes the grant from everybody (TN-51). */
  updateResource(resource: GatewayResource): readonly Revocation[];
  clients(): readonly GrantedClient[];
  client(cid: string): GrantedClient | undefined;
  handleTimeout(now: Instant): readonly Revocation[];
  pollTimeout(): Instant | undefined;
}

interface MutableClient extends GrantedClient {
  readonly grants: Map<string, Grant>;
}

type Clients = Map<string, MutableClient>;

/** @param clock its steps move all expiries at once (TN-53) */
export function createGrants(clock: WallClock): Grants {
  const clients: Clients = new Map();
  // Asked for in every turn, of all grants; it changes with them only.
  let first: UnixMs | undefined;
  const changing = <T>(change: T): T => {
    first = firstExpiry(clients);
    return change;
  };
  return {
    insert: (cid, addresses, grant) => changing(insert(clients, cid, addresses, grant)),
    setExpiry: (cid, rid, expiresAt) => changing(setExpiry(clients, cid, rid, expiresAt)),
    revoke: (cid, rid) => changing(revoke(clients, cid, rid, "revoked")),
    removeClient: (cid, reason) => changing(removeClient(clients, cid, reason)),
    reconcile: (listed) => changing(reconcile(clients, listed)),
    updateResource: (resource) => changing(updateResource(clients, resource)),
    clients: () => [...clients.values()],
    client: (cid) => clients.get(cid),
    handleTimeout(now) {
      const wallNow = clock.wallNow(now);
      if (first === undefined || wallNow < first) return [];
      const isOver = (_cid: string, { expiresAt }: Grant): boolean =>
        expiresAt !== undefined && wallNow >= expiresAt;
      return changing(revokeWhere(clients, "expired", isOver));
    },
    pollTimeout: () => (first === undefined ? undefined : clock.instantOf(first)),
  };
}

function firstExpiry(clients: Clients): UnixMs | undefined {
  let first: UnixMs | undefined;
  for (const { grants } of clients.values()) {
    for (const { expiresAt } of grants.values()) {
      if (expiresAt !== undefined && (first === undefined || expiresAt < first)) first = expiresAt;
    }
  }
  return first;
}

function insert(
  clients: Clients,
  cid: string,
  addresses: readonly IpAddress[],
  grant: Grant,
): readonly Revocation[] {
  const isHeldBy = (other: MutableClient): boolean =>
    other.addresses.some((held) => addresses.some((one) => equalIp(held, one)));
  const losers = [...clients.values()].filter((other) => other.cid !== cid && isHeldBy(other));
  const lost = losers.flatMap((other) => removeClient(clients, other.cid, "address-taken"));
  const grants = clients.get(cid)?.grants ?? new Map<string, Grant>();
  grants.set(grant.resource.rid, grant);
  clients.set(cid, { cid, addresses, grants });
  return lost;
}

function setExpiry(clients: Clients, cid: string, rid: string, expiresAt: UnixMs | undefined): boolean {
  const grants = clients.get(cid)?.grants;
  const grant = grants?.get(rid);
  if (grants === undefined || grant === undefined) return false;
  grants.set(rid, expiring(grant, expiresAt));
  return true;
}

function reconcile(clients: Clients, listed: readonly ListedAuthorization[]): readonly Revocation[] {
  const key = (cid: string, rid: string): string => `${cid} ${rid}`;
  const kept = new Set(listed.map(({ cid, rid }) => key(cid, rid)));
  const isOver = (cid: string, { resource }: Grant): boolean => !kept.has(key(cid, resource.rid));
  const lost = revokeWhere(clients, "not-listed", isOver);
  for (const { cid, rid, expiresAt } of listed) setExpiry(clients, cid, rid, expiresAt);
  return lost;
}

function updateResource(clients: Clients, resource: GatewayResource): readonly Revocation[] {
  const isOver = (_cid: string, grant: Grant): boolean =>
    grant.resource.rid === resource.rid && !isSameReach(grant.resource, resource);
  const lost = revokeWhere(clients, "resource-changed", isOver);
  for (const client of clients.values()) {
    const grant = client.grants.get(resource.rid);
    if (grant !== undefined) client.grants.set(resource.rid, { ...grant, resource });
  }
  return lost;
}

function removeClient(clients: Clients, cid: string, reason: "goodbye" | "address-taken"): Revocation[] {
  return revokeWhere(clients, reason, (holder) => holder === cid);
}

function revokeWhere(
  clients: Clients,
  reason: Revocation["reason"],
  isOver: (cid: string, grant: Grant) => boolean,
): Revocation[] {
  return [...clients.values()].flatMap((client) =>
    [...client.grants.values()]
      .filter((grant) => isOver(client.cid, grant))
      .flatMap((grant) => revoke(clients, client.cid, grant.resource.rid, reason)),
  );
}

function revoke(clients: Clients, cid: string, rid: string, reason: Revocation["reason"]): Revocation[] {
  const client = clients.get(cid);
  if (client === undefined || !client.grants.delete(rid)) return [];
  const isLast = client.grants.size === 0;
  if (isLast) clients.delete(cid);
  return [{ cid, rid, reason, isLast }];
}

function expiring({ expiresAt: _, ...grant }: Grant, expiresAt: UnixMs | undefined): Grant {
  return expiresAt === undefined ? grant : { ...grant, expiresAt };
}

/** Whether a grant for `held` stays when the resource becomes `updated`: filters may change, what it opens may not. */
function isSameReach(held: GatewayResource, updated: GatewayResource): boolean {
  return reachOf(held).identity === reachOf(updated).identity;
}
