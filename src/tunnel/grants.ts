/** What the gateway's clients may reach, and until when (TN-50 to TN-55). */
import {
  createDeadlineQueue,
  type DeadlineQueue,
  equalValues,
  type Instant,
  type IpAddress,
  type QueueEntry,
  type UnixMs,
  type WallClock,
} from "../base/index.ts";
import type { GatewayResource } from "../portal/protocol/index.ts";
import { addressKey } from "./nat/keys.ts";
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
  /** Names and filters are replaced; another kind or network revokes the grant from everybody (TN-51). */
  updateResources(resources: readonly GatewayResource[]): ResourceUpdate;
  clients(): readonly GrantedClient[];
  client(cid: string): GrantedClient | undefined;
  /** Whose tunnel address it is. */
  holderOf(address: IpAddress): GrantedClient | undefined;
  handleTimeout(now: Instant): readonly Revocation[];
  pollTimeout(): Instant | undefined;
}

export interface ResourceUpdate {
  readonly lost: readonly Revocation[];
  /** Whose grants are not what they were. */
  readonly changed: readonly string[];
}

/** A grant with its place among those that end by themselves. */
interface Row extends Grant, QueueEntry<UnixMs> {
  readonly cid: string;
}

interface MutableClient extends GrantedClient {
  readonly grants: Map<string, Row>;
}

/** No change looks at other clients' grants: there may be ten thousand of them. */
interface Book {
  readonly clients: Map<string, MutableClient>;
  readonly byAddress: Map<string, MutableClient>;
  readonly expiries: DeadlineQueue<Row>;
}

/** @param clock its steps move all expiries at once (TN-53) */
export function createGrants(clock: WallClock): Grants {
  const book: Book = { clients: new Map(), byAddress: new Map(), expiries: createDeadlineQueue() };
  const { clients, byAddress, expiries } = book;
  return {
    insert: (cid, addresses, grant) => insert(book, cid, addresses, grant),
    setExpiry: (cid, rid, expiresAt) => setExpiry(book, cid, rid, expiresAt),
    revoke: (cid, rid) => revoke(book, cid, rid, "revoked"),
    removeClient: (cid, reason) => removeClient(book, cid, reason),
    reconcile: (listed) => reconcile(book, listed),
    updateResources: (resources) => updateResources(book, resources),
    clients: () => [...clients.values()],
    client: (cid) => clients.get(cid),
    holderOf: (address) => byAddress.get(addressKey(address)),
    handleTimeout: (now) => expire(book, clock.wallNow(now)),
    pollTimeout() {
      const first = expiries.first()?.dueAt;
      return first === undefined ? undefined : clock.instantOf(first);
    },
  };
}

function expire(book: Book, wallNow: UnixMs): readonly Revocation[] {
  const lost: Revocation[] = [];
  for (let first = book.expiries.first(); isOver(first, wallNow); first = book.expiries.first()) {
    lost.push(...revoke(book, first.cid, first.resource.rid, "expired"));
  }
  return lost;
}

function isOver(row: Row | undefined, wallNow: UnixMs): row is Row {
  return row?.dueAt !== undefined && row.dueAt <= wallNow;
}

function insert(
  book: Book,
  cid: string,
  addresses: readonly IpAddress[],
  grant: Grant,
): readonly Revocation[] {
  const { clients, byAddress } = book;
  const losers = new Set(addresses.flatMap((address) => byAddress.get(addressKey(address))?.cid ?? []));
  losers.delete(cid);
  const lost = [...losers].flatMap((other) => removeClient(book, other, "address-taken"));
  const before = clients.get(cid);
  if (before !== undefined) releaseAddresses(book, before);
  const client = { cid, addresses, grants: before?.grants ?? new Map<string, Row>() };
  clients.set(cid, client);
  for (const address of addresses) byAddress.set(addressKey(address), client);
  put(book, client, grant);
  return lost;
}

function releaseAddresses({ byAddress }: Book, client: MutableClient): void {
  for (const address of client.addresses) byAddress.delete(addressKey(address));
}

/** In place of what the client had of the resource. */
function put({ expiries }: Book, { cid, grants }: MutableClient, grant: Grant): void {
  const { rid } = grant.resource;
  const before = grants.get(rid);
  if (before !== undefined) expiries.set(before, undefined);
  const row: Row = { ...grant, cid, dueAt: undefined, place: -1 };
  grants.set(rid, row);
  expiries.set(row, grant.expiresAt);
}

function setExpiry(book: Book, cid: string, rid: string, expiresAt: UnixMs | undefined): boolean {
  const client = book.clients.get(cid);
  const grant = client?.grants.get(rid);
  if (client === undefined || grant === undefined) return false;
  put(book, client, expiring(grant, expiresAt));
  return true;
}

function reconcile(book: Book, listed: readonly ListedAuthorization[]): readonly Revocation[] {
  const key = (cid: string, rid: string): string => `${cid} ${rid}`;
  const kept = new Set(listed.map(({ cid, rid }) => key(cid, rid)));
  const isLost = (cid: string, { resource }: Grant): boolean => !kept.has(key(cid, resource.rid));
  const lost = revokeWhere(book, "not-listed", isLost);
  for (const { cid, rid, expiresAt } of listed) setExpiry(book, cid, rid, expiresAt);
  return lost;
}

function updateResources(book: Book, resources: readonly GatewayResource[]): ResourceUpdate {
  const updated = new Map(resources.map((resource) => [resource.rid, resource]));
  const updateOf = ({ resource: held }: Grant): GatewayResource | undefined => {
    const resource = updated.get(held.rid);
    return resource === undefined || equalValues(held, resource) ? undefined : resource;
  };
  const lost = revokeWhere(book, "resource-changed", (_cid, grant) => {
    const resource = updateOf(grant);
    return resource !== undefined && !isSameReach(grant.resource, resource);
  });
  const changed: string[] = [];
  for (const client of book.clients.values()) {
    const stale = [...client.grants.values()].flatMap((grant) => {
      const resource = updateOf(grant);
      return resource === undefined ? [] : [{ ...grant, resource }];
    });
    for (const grant of stale) put(book, client, grant);
    if (stale.length > 0) changed.push(client.cid);
  }
  return { lost, changed };
}

function removeClient(book: Book, cid: string, reason: "goodbye" | "address-taken"): Revocation[] {
  const rids = [...(book.clients.get(cid)?.grants.keys() ?? [])];
  return rids.flatMap((rid) => revoke(book, cid, rid, reason));
}

function revokeWhere(
  book: Book,
  reason: Revocation["reason"],
  isLost: (cid: string, grant: Grant) => boolean,
): Revocation[] {
  return [...book.clients.values()].flatMap((client) =>
    [...client.grants.values()]
      .filter((grant) => isLost(client.cid, grant))
      .flatMap((grant) => revoke(book, client.cid, grant.resource.rid, reason)),
  );
}

function revoke(book: Book, cid: string, rid: string, reason: Revocation["reason"]): Revocation[] {
  const client = book.clients.get(cid);
  const grant = client?.grants.get(rid);
  if (client === undefined || grant === undefined) return [];
  client.grants.delete(rid);
  book.expiries.set(grant, undefined);
  const isLast = client.grants.size === 0;
  if (isLast) {
    book.clients.delete(cid);
    releaseAddresses(book, client);
  }
  return [{ cid, rid, reason, isLast }];
}

function expiring({ expiresAt: _, ...grant }: Grant, expiresAt: UnixMs | undefined): Grant {
  return expiresAt === undefined ? grant : { ...grant, expiresAt };
}

/** Whether a grant for `held` stays when the resource becomes `updated`: filters may change, what it opens may not. */
function isSameReach(held: GatewayResource, updated: GatewayResource): boolean {
  return reachOf(held).identity === reachOf(updated).identity;
}
