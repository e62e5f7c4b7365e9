/** What the client knows of gateways and their sites (TN-27, TN-29, TN-31, TN-34, TN-39). */
import { after, earliest, type Instant, type IpAddress } from "../base/index.ts";
import { OFFLINE_SITE_TTL_MS } from "./constants.ts";

export interface KnownGateway {
  readonly gid: string;
  readonly addresses: readonly IpAddress[];
  /** Resources authorised on it. */
  readonly rids: readonly string[];
}

export interface Gateways {
  /**
   * Records that `rid` is authorised on this gateway. If it was authorised on another one, that one
   * loses it; returns that gateway's id when it now serves nothing.
   */
  authorise(
    rid: string,
    gateway: { readonly gid: string; readonly siteId: string; readonly addresses: readonly IpAddress[] },
  ): string | undefined;
  /** Ends the authorisation; returns the gateway's id when it now serves nothing. */
  unauthorise(rid: string): string | undefined;
  authorisedOn(rid: string): string | undefined;
  all(): readonly KnownGateway[];
  /** Forgets a gateway and what is authorised on it; its site becomes unknown. */
  remove(gid: string): boolean;
  /** Forgets all gateways; keeps the sites' lists and who last served what (TN-35). */
  clear(): void;
  setOnline(gid: string): void;
  setOffline(now: Instant, siteIds: readonly string[]): void;
  statusOf(siteIds: readonly string[]): "unknown" | "online" | "offline";
  /** Every gateway ever named, best first (TN-29). */
  preferredFor(rid: string): readonly string[];
  /** Returns whether the status of a site changed. */
  handleTimeout(now: Instant): boolean;
  pollTimeout(): Instant | undefined;
}

export function createGateways(): Gateways {
  const gateways = new Map<string, { readonly addresses: readonly IpAddress[]; isOnline: boolean }>();
  const authorised = new Map<string, string>();
  const siteOf = new Map<string, string>();
  const lastServed = new Map<string, string>();
  const offlineUntil = new Map<string, Instant>();

  const serves = (gid: string): boolean => [...authorised.values()].includes(gid);
  const isOnlineSite = (siteId: string): boolean =>
    [...gateways].some(([gid, { isOnline }]) => isOnline && siteOf.get(gid) === siteId);

  function unauthorise(rid: string): string | undefined {
    const gid = authorised.get(rid);
    authorised.delete(rid);
    return gid !== undefined && !serves(gid) ? gid : undefined;
  }

  return {
    authorise(rid, { gid, siteId, addresses }) {
      const before = authorised.get(rid);
      authorised.set(rid, gid);
      lastServed.set(rid, gid);
      siteOf.set(gid, siteId);
      gateways.set(gid, { addresses, isOnline: gateways.get(gid)?.isOnline ?? false });
      return before !== undefined && before !== gid && !serves(before) ? before : undefined;
    },
    unauthorise,
    authorisedOn: (rid) => authorised.get(rid),
    all: () =>
      [...gateways].map(([gid, { addresses }]) => ({
        gid,
        addresses,
        rids: [...authorised].filter(([, on]) => on === gid).map(([rid]) => rid),
      })),
    remove(gid) {
      for (const [rid, on] of authorised) if (on === gid) authorised.delete(rid);
      return gateways.delete(gid);
    },
    clear() {
      gateways.clear();
      authorised.clear();
    },
    setOnline(gid) {
      const known = gateways.get(gid);
      if (known === undefined) return;
      known.isOnline = true;
      const siteId = siteOf.get(gid);
      if (siteId !== undefined) offlineUntil.delete(siteId);
    },
    setOffline(now, siteIds) {
      for (const siteId of siteIds) offlineUntil.set(siteId, after(now, OFFLINE_SITE_TTL_MS));
    },
    statusOf(siteIds) {
      if (siteIds.some(isOnlineSite)) return "online";
      return siteIds.length > 0 && siteIds.every((siteId) => offlineUntil.has(siteId))
        ? "offline"
        : "unknown";
    },
    preferredFor(rid) {
      const rank = (gid: string): number =>
        gid === lastServed.get(rid) ? 0 : gateways.get(gid)?.isOnline === true ? 1 : 2;
      return [...siteOf.keys()].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    },
    handleTimeout(now) {
      const over = [...offlineUntil].filter(([, until]) => now >= until);
      for (const [siteId] of over) offlineUntil.delete(siteId);
      return over.length > 0;
    },
    pollTimeout: () => earliest(...offlineUntil.values()),
  };
}
