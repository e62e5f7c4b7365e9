/**
 * What the administrator has configured, checked and with ids: the portal's decisions read only this
 * and the store. A change of configuration is a new model (PT-114).
 */
import type { IpAddress, Prefix, UnixMs } from "../../base/index.ts";
import type { TokenKind } from "../derive.ts";
import type { Filter, IpStack } from "../protocol/index.ts";
import type { WeekRange } from "./week-range.ts";

/** Degrees, north and east positive. */
export interface Location {
  readonly latitude: number;
  readonly longitude: number;
}

export interface ConfiguredSite {
  readonly id: string;
  readonly name: string;
  readonly location?: Location;
}

export interface Actor {
  readonly id: string;
  readonly name: string;
  readonly type: "service_account" | "user";
  readonly email?: string;
  readonly isDisabled: boolean;
}

export interface Group {
  readonly id: string;
  readonly name: string;
  /** The built-in group that every user, but no service account, belongs to (PT-80). */
  readonly isEveryone: boolean;
  readonly memberIds: ReadonlySet<string>;
}

/** A single address is a resource of kind `cidr` with a full-length prefix (PT-50). */
export type ConfiguredResource = {
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly siteId: string;
  readonly filters: readonly Filter[];
} & (
  | { readonly kind: "cidr"; readonly address: Prefix }
  | { readonly kind: "dns"; readonly address: string; readonly ipStack: IpStack }
  | { readonly kind: "internet" }
);

/** One group may reach one resource, while all conditions hold. */
export interface Policy {
  readonly id: string;
  readonly groupId: string;
  readonly resourceId: string;
  readonly conditions: readonly Condition[];
  readonly isDisabled: boolean;
}

/** What a policy asks of a client besides membership (PT-81). */
export type Condition =
  | {
      readonly property: "remote_ip";
      readonly operator: "is_in_cidr" | "is_not_in_cidr";
      readonly prefixes: readonly Prefix[];
    }
  | {
      readonly property: "remote_ip_location_region" | "auth_provider_id";
      readonly operator: "is_in" | "is_not_in";
      readonly values: readonly string[];
    }
  | { readonly property: "current_utc_datetime"; readonly ranges: readonly WeekRange[] }
  | { readonly property: "client_verified"; readonly isRequired: boolean };

export type ConditionProperty = Condition["property"];

/** A token as the portal keeps it: never the token itself (PT-105). */
export interface TokenRecord {
  readonly kind: TokenKind;
  /** SHA-256 of PT-105 in hexadecimal; it also names the token in the store. */
  readonly hash: string;
  readonly name: string;
  /** The actor (client), the site (gateway); a relay's token belongs to no one. */
  readonly ownerId: string;
  readonly expiresAt?: UnixMs;
  readonly location?: Location;
}

/** Resolvers for clients; both lists empty: those of the client's system. */
export interface DnsSettings {
  readonly do53: readonly IpAddress[];
  readonly doh: readonly string[];
  readonly searchDomain?: string;
}

export interface PortalModel {
  readonly account: { readonly id: string; readonly slug: string; readonly name: string };
  readonly dns: DnsSettings;
  readonly sites: ReadonlyMap<string, ConfiguredSite>;
  readonly actors: ReadonlyMap<string, Actor>;
  readonly groups: ReadonlyMap<string, Group>;
  readonly resources: ReadonlyMap<string, ConfiguredResource>;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly policiesByResource: ReadonlyMap<string, readonly Policy[]>;
  /** By hash. */
  readonly tokens: ReadonlyMap<string, TokenRecord>;
  /** External ids of devices that an administrator has verified. */
  readonly verified: ReadonlySet<string>;
}
