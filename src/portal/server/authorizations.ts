/**
 * Who may use which resource through which gateway, until when: the records behind flows
 * (PT-85, PT-91). Several records may grant the same; the latest expiry counts.
 */
import type { UnixMs } from "../../base/index.ts";

export interface AuthorizationRecord {
  readonly cid: string;
  readonly gid: string;
  readonly rid: string;
  readonly policyId: string;
  /** The client's token, by hash: the record ends with it. */
  readonly tokenHash: string;
  /** What the resource is (`identityOf`): the gateway holds exactly this. */
  readonly identity: string;
  /** Digest of what the grant rests on (`basisOf`): also a change while the portal was down ends it. */
  readonly basis: string;
  /** Absent: never. */
  readonly expiresAt?: UnixMs;
}

export interface AuthorizationTable {
  /** Adds a record, or replaces the expiry of the same one. */
  put(record: AuthorizationRecord): void;
  delete(record: AuthorizationRecord): void;
  /** By `authorizationKey`. */
  get(key: string): AuthorizationRecord | undefined;
  all(): Iterable<AuthorizationRecord>;
  /** Records of a client and a gateway that have not expired. */
  ofPair(cid: string, gid: string, wallNow: UnixMs): readonly AuthorizationRecord[];
  ofGateway(gid: string, wallNow: UnixMs): readonly AuthorizationRecord[];
  /** All of a client or gateway, also those that have expired. */
  ofClient(cid: string): readonly AuthorizationRecord[];
  allOfGateway(gid: string): readonly AuthorizationRecord[];
  /** Removes what has expired; returns how many (PT-91). */
  purge(wallNow: UnixMs): number;
}

/** @param onChange called with the key of every record that changes */
export function createAuthorizationTable(
  records: Iterable<AuthorizationRecord>,
  onChange: (key: string) => void,
): AuthorizationTable {
  const byKey = new Map<string, AuthorizationRecord>();
  const keysOfGateway = new Map<string, Set<string>>();
  const keysOfClient = new Map<string, Set<string>>();
  const keysOfPair = new Map<string, Set<string>>();

  function add(record: AuthorizationRecord): void {
    const key = authorizationKey(record);
    byKey.set(key, record);
    addKey(keysOfGateway, record.gid, key);
    addKey(keysOfClient, record.cid, key);
    addKey(keysOfPair, pairOf(record), key);
  }

  function remove(record: AuthorizationRecord): void {
    const key = authorizationKey(record);
    if (!byKey.delete(key)) return;
    deleteKey(keysOfGateway, record.gid, key);
    deleteKey(keysOfClient, record.cid, key);
    deleteKey(keysOfPair, pairOf(record), key);
    onChange(key);
  }

  function allOf(keys: ReadonlySet<string> | undefined): readonly AuthorizationRecord[] {
    return [...(keys ?? [])].flatMap((key) => byKey.get(key) ?? []);
  }

  function live(keys: ReadonlySet<string> | undefined, wallNow: UnixMs): readonly AuthorizationRecord[] {
    return allOf(keys).filter((record) => isLive(record, wallNow));
  }

  for (const record of records) add(record);
  return {
    put(record) {
      add(record);
      onChange(authorizationKey(record));
    },
    delete: remove,
    get: (key) => byKey.get(key),
    ofClient: (cid) => allOf(keysOfClient.get(cid)),
    allOfGateway: (gid) => allOf(keysOfGateway.get(gid)),
    all: () => byKey.values(),
    ofPair: (cid, gid, wallNow) => live(keysOfPair.get(pairOf({ cid, gid })), wallNow),
    ofGateway: (gid, wallNow) => live(keysOfGateway.get(gid), wallNow),
    purge(wallNow) {
      const expired = [...byKey.values()].filter((record) => !isLive(record, wallNow));
      for (const record of expired) remove(record);
      return expired.length;
    },
  };
}

export function isLive(record: AuthorizationRecord, wallNow: UnixMs): boolean {
  return record.expiresAt === undefined || wallNow < record.expiresAt;
}

/** The latest end of some records; `undefined` is "never" and beats all others. */
export function latestExpiry(records: readonly AuthorizationRecord[]): UnixMs | undefined {
  let latest: UnixMs | undefined;
  for (const { expiresAt } of records) {
    if (expiresAt === undefined) return undefined;
    if (latest === undefined || expiresAt > latest) latest = expiresAt;
  }
  return latest;
}

/** Names a record in the store. */
export function authorizationKey({ cid, gid, rid, policyId, tokenHash }: AuthorizationRecord): string {
  return `${cid}|${gid}|${rid}|${policyId}|${tokenHash}`;
}

function pairOf({ cid, gid }: { readonly cid: string; readonly gid: string }): string {
  return `${cid}|${gid}`;
}

function addKey(index: Map<string, Set<string>>, at: string, key: string): void {
  const keys = index.get(at);
  if (keys === undefined) index.set(at, new Set([key]));
  else keys.add(key);
}

function deleteKey(index: Map<string, Set<string>>, at: string, key: string): void {
  const keys = index.get(at);
  keys?.delete(key);
  if (keys?.size === 0) index.delete(at);
}
