/** The client's access to each resource: asked for, granted, refused (TN-28 to TN-35). */
import { after, earliest, type Instant } from "../base/index.ts";
import { INTENT_DEDUP_MS, PENDING_IDLE_MS, PENDING_PACKETS, PROHIBITED_REINTENT_MS } from "./constants.ts";
import { keepPacket } from "./waiting-packets.ts";

export type Access =
  | { readonly kind: "none" }
  | {
      readonly kind: "asked";
      /** What waits for the answer. */
      readonly packets: Uint8Array[];
      readonly lastTrigger: Instant;
      /** The gateway on which it is granted meanwhile, if another one is asked for. */
      readonly on: string | undefined;
    }
  | { readonly kind: "granted"; readonly gid: string }
  | { readonly kind: "refused" };

interface Entry {
  access: Access;
  /** When *prohibited* made us ask last (TN-36). */
  prohibitedAt: Instant | undefined;
  /** Outlives the answer: a resource is not asked for twice within `INTENT_DEDUP` (TN-28, TN-32). */
  askedAt: Instant | undefined;
  /** A new wish came before it could be asked for again: the intent goes out then, packet or not (TN-28). */
  dueAt: Instant | undefined;
  /** Who served it last; only a grant changes it, so that the client returns there (TN-29). */
  servedBy: string | undefined;
  /** Its gateway was lost while somebody may have waited for an answer; that may go on until then (TN-106). */
  awaitedUntil: Instant | undefined;
}

/** By resource id. */
export type AccessTable = Map<string, Entry>;

export function createAccessTable(): AccessTable {
  return new Map();
}

function entryOf(table: AccessTable, rid: string): Entry {
  const known = table.get(rid);
  if (known !== undefined) return known;
  const entry: Entry = {
    access: { kind: "none" },
    prohibitedAt: undefined,
    askedAt: undefined,
    dueAt: undefined,
    servedBy: undefined,
    awaitedUntil: undefined,
  };
  table.set(rid, entry);
  return entry;
}

export function accessTo(table: AccessTable, rid: string): Access {
  return table.get(rid)?.access ?? { kind: "none" };
}

/** The gateway on which the resource is authorised now. */
export function gatewayOf(table: AccessTable, rid: string): string | undefined {
  return grantedOn(accessTo(table, rid));
}

function grantedOn(access: Access): string | undefined {
  if (access.kind === "granted") return access.gid;
  return access.kind === "asked" ? access.on : undefined;
}

export function lastServedBy(table: AccessTable, rid: string): string | undefined {
  return table.get(rid)?.servedBy;
}

/** The resources that are authorised on a gateway. */
export function authorisedOn(table: AccessTable, gid: string): readonly string[] {
  return [...table].filter(([, { access }]) => grantedOn(access) === gid).map(([rid]) => rid);
}

/** Somebody may wait for answers by these resources, whose gateway is gone. */
export function noteAwaited(table: AccessTable, rids: readonly string[], until: Instant): void {
  for (const rid of rids) entryOf(table, rid).awaitedUntil = until;
}

/** What the gateway served when it was lost, and may still be awaited. */
export function awaitedFrom(table: AccessTable, now: Instant, gid: string): readonly string[] {
  const isAwaited = ({ servedBy, awaitedUntil }: Entry): boolean =>
    servedBy === gid && awaitedUntil !== undefined && now < awaitedUntil;
  return [...table].filter(([, entry]) => isAwaited(entry)).map(([rid]) => rid);
}

/** Resources whose answer is awaited. */
export function askedFor(table: AccessTable): readonly string[] {
  return [...table].filter(([, { access }]) => access.kind === "asked").map(([rid]) => rid);
}

/**
 * Something needs the resource: a packet, or the wish for another gateway.
 * @returns whether an intent is due now (TN-28) and how many packets were pushed out
 */
export function wantAccess(
  table: AccessTable,
  now: Instant,
  { rid, packet }: { readonly rid: string; readonly packet?: Uint8Array },
): { readonly isIntentDue: boolean; readonly dropped: number } {
  const entry = entryOf(table, rid);
  const { access } = entry;
  const packets = access.kind === "asked" ? access.packets : [];
  entry.access = { kind: "asked", packets, lastTrigger: now, on: grantedOn(access) };
  const dropped = packet === undefined ? 0 : keepPacket(packets, packet, PENDING_PACKETS);
  const isIntentDue = entry.askedAt === undefined || now - entry.askedAt >= INTENT_DEDUP_MS;
  if (isIntentDue) noteAsked(entry, now);
  else if (access.kind !== "asked" && entry.askedAt !== undefined) {
    entry.dueAt = after(entry.askedAt, INTENT_DEDUP_MS);
  }
  return { isIntentDue, dropped };
}

/** Whether *prohibited* may make us ask once more by now; at most once per `PROHIBITED_REINTENT`. */
export function mayAskAgain(table: AccessTable, now: Instant, rid: string): boolean {
  const entry = entryOf(table, rid);
  const { prohibitedAt } = entry;
  if (prohibitedAt !== undefined && now < after(prohibitedAt, PROHIBITED_REINTENT_MS)) return false;
  entry.prohibitedAt = now;
  return true;
}

function noteAsked(entry: Entry, now: Instant): void {
  entry.askedAt = now;
  entry.dueAt = undefined;
}

/** The resources whose intent had to wait and is due by now; their stamps are set (TN-28). */
export function takeDueIntents(table: AccessTable, now: Instant): readonly string[] {
  const due = [...table].filter(([, { access, dueAt }]) => {
    return access.kind === "asked" && dueAt !== undefined && now >= dueAt;
  });
  for (const [, entry] of due) noteAsked(entry, now);
  return due.map(([rid]) => rid);
}

/** @returns what waited, in order */
export function grantAccess(table: AccessTable, rid: string, gid: string): readonly Uint8Array[] {
  const entry = entryOf(table, rid);
  const packets = waitingIn(entry.access);
  entry.access = { kind: "granted", gid };
  entry.servedBy = gid;
  return packets;
}

/**
 * The portal said no. Access that is still there stays.
 * @returns what waited, in order
 */
export function refuseAccess(table: AccessTable, rid: string): readonly Uint8Array[] {
  const entry = entryOf(table, rid);
  const packets = waitingIn(entry.access);
  const on = grantedOn(entry.access);
  entry.access = on === undefined ? { kind: "refused" } : { kind: "granted", gid: on };
  return packets;
}

/** The resource is gone, or no gateway serves it any more; what waited is lost (TN-26). */
export function endAccess(table: AccessTable, rid: string): void {
  const entry = table.get(rid);
  if (entry === undefined) return;
  entry.access = { kind: "none" };
  entry.prohibitedAt = undefined;
  entry.awaitedUntil = undefined;
}

/** A gateway is gone: its resources are asked for anew by the next packet, or are asked for already (TN-34). */
export function loseGateway(table: AccessTable, gid: string): void {
  for (const entry of table.values()) {
    const { access } = entry;
    if (access.kind === "granted" && access.gid === gid) entry.access = { kind: "none" };
    if (access.kind === "asked" && access.on === gid) entry.access = { ...access, on: undefined };
  }
}

/**
 * The network is another one: no gateway is left, and everything may be asked for at once. What was in use is asked
 * for with the next `init`, without waiting for a packet (TN-35).
 *
 * @param inUse gateways by which something went lately
 */
export function forgetGrants(table: AccessTable, now: Instant, inUse: ReadonlySet<string>): void {
  for (const entry of table.values()) {
    const { access } = entry;
    if (access.kind === "granted") {
      const isUsed = inUse.has(access.gid);
      entry.access = isUsed
        ? { kind: "asked", packets: [], lastTrigger: now, on: undefined }
        : { kind: "none" };
    }
    if (access.kind === "asked") entry.access = { ...access, on: undefined };
    entry.askedAt = undefined;
    entry.dueAt = undefined;
  }
}

/** The resources that ask again after an `init` (TN-33); their stamps are set to `now`. */
export function restartIntents(table: AccessTable, now: Instant): readonly string[] {
  const rids = askedFor(table);
  for (const rid of rids) noteAsked(entryOf(table, rid), now);
  return rids;
}

/** Gives up what had no trigger for `PENDING_IDLE` (TN-30); returns the number of packets lost. */
export function handleAccessTimeout(table: AccessTable, now: Instant): number {
  let lost = 0;
  for (const entry of table.values()) {
    const { access } = entry;
    if (access.kind !== "asked" || now < after(access.lastTrigger, PENDING_IDLE_MS)) continue;
    lost += access.packets.length;
    entry.access = access.on === undefined ? { kind: "none" } : { kind: "granted", gid: access.on };
  }
  return lost;
}

export function pollAccessTimeout(table: AccessTable): Instant | undefined {
  return earliest(
    ...[...table.values()].map(({ access, dueAt }) =>
      access.kind === "asked" ? earliest(dueAt, after(access.lastTrigger, PENDING_IDLE_MS)) : undefined,
    ),
  );
}

function waitingIn(access: Access): readonly Uint8Array[] {
  return access.kind === "asked" ? access.packets : [];
}
