/** What the client knows of gateways and their sites (TN-27, TN-29, TN-31, TN-34). */
import { after, earliest, type Instant, type IpAddress } from "../base/index.ts";
import { OFFLINE_SITE_TTL_MS } from "./constants.ts";

/** A gateway that was ever named; its site is never forgotten. */
interface KnownGateway {
  readonly siteId: string;
  /** `away`: there is no connection to it. */
  link:
    | { readonly kind: "away" }
    | {
        readonly kind: "connecting" | "online";
        readonly addresses: readonly IpAddress[];
        /** The portal has lost it: if its path turns out to be dead, another one is asked for at once. */
        readonly hasLeft: boolean;
      };
}

export interface Gateways {
  readonly known: Map<string, KnownGateway>;
  readonly offlineUntil: Map<string, Instant>;
}

export interface NamedGateway {
  readonly gid: string;
  readonly siteId: string;
  readonly addresses: readonly IpAddress[];
}

export function createGateways(): Gateways {
  return { known: new Map(), offlineUntil: new Map() };
}

/** The portal has named the gateway for a resource. */
export function addGateway({ known }: Gateways, { gid, siteId, addresses }: NamedGateway): void {
  const kind = known.get(gid)?.link.kind === "online" ? "online" : "connecting";
  known.set(gid, { siteId, link: { kind, addresses, hasLeft: false } });
}

/** Those there is a connection to, with their tunnel addresses. */
export function linkedGateways({
  known,
}: Gateways): readonly { readonly gid: string; readonly addresses: readonly IpAddress[] }[] {
  return [...known].flatMap(([gid, { link }]) =>
    link.kind === "away" ? [] : [{ gid, addresses: link.addresses }],
  );
}

/** The portal has lost the gateway (PT-94). Returns whether there is a connection to it. */
export function noteLeft({ known }: Gateways, gid: string): boolean {
  const gateway = known.get(gid);
  if (gateway === undefined || gateway.link.kind === "away") return false;
  gateway.link = { ...gateway.link, hasLeft: true };
  return true;
}

export function hasLeft({ known }: Gateways, gid: string): boolean {
  const link = known.get(gid)?.link;
  return link !== undefined && link.kind !== "away" && link.hasLeft;
}

/** The connection is gone; the site becomes unknown. Returns whether there was one. */
export function removeGateway({ known }: Gateways, gid: string): boolean {
  const gateway = known.get(gid);
  if (gateway === undefined || gateway.link.kind === "away") return false;
  gateway.link = { kind: "away" };
  return true;
}

/** All connections are gone; the sites' lists stay (TN-35). */
export function removeAllGateways({ known }: Gateways): void {
  for (const gateway of known.values()) gateway.link = { kind: "away" };
}

export function setGatewayOnline({ known, offlineUntil }: Gateways, gid: string): void {
  const gateway = known.get(gid);
  if (gateway === undefined || gateway.link.kind === "away") return;
  gateway.link = { ...gateway.link, kind: "online" };
  offlineUntil.delete(gateway.siteId);
}

export function setSitesOffline({ offlineUntil }: Gateways, now: Instant, siteIds: readonly string[]): void {
  for (const siteId of siteIds) offlineUntil.set(siteId, after(now, OFFLINE_SITE_TTL_MS));
}

export function statusOfSites(
  { known, offlineUntil }: Gateways,
  siteIds: readonly string[],
): "unknown" | "online" | "offline" {
  const isOnline = [...known.values()].some(
    ({ siteId, link }) => link.kind === "online" && siteIds.includes(siteId),
  );
  if (isOnline) return "online";
  const isOffline = siteIds.length > 0 && siteIds.every((siteId) => offlineUntil.has(siteId));
  return isOffline ? "offline" : "unknown";
}

/** Every gateway ever named, best first: who served last, then connected ones, then by id (TN-29). */
export function preferredGateways({ known }: Gateways, servedBy: string | undefined): readonly string[] {
  const rank = (gid: string): number => {
    if (gid === servedBy) return 0;
    return known.get(gid)?.link.kind === "online" ? 1 : 2;
  };
  return [...known.keys()].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Returns whether the status of a site changed. */
export function handleGatewaysTimeout({ offlineUntil }: Gateways, now: Instant): boolean {
  const over = [...offlineUntil].filter(([, until]) => now >= until);
  for (const [siteId] of over) offlineUntil.delete(siteId);
  return over.length > 0;
}

export function pollGatewaysTimeout({ offlineUntil }: Gateways): Instant | undefined {
  return earliest(...offlineUntil.values());
}
