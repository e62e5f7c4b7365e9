/**
 * What must outlive a restart (PT-115): devices and gateways with their secrets and addresses, live
 * authorisations, and what was rejected while its client was away.
 *
 * It reaches the disk as changes. Each names one record and holds all of it, or says that it is gone, so
 * that a change applied twice, or over a newer snapshot, gives the same state.
 */
import type { IpAddress, UnixMs } from "../../base/index.ts";
import { type AuthorizationRecord, authorizationKey } from "./authorizations.ts";

/** What devices and gateways have in common, and what is the same in text and in memory. */
export interface PeerFacts {
  readonly id: string;
  /** The actor of a device, the site of a gateway. */
  readonly ownerId: string;
  /** The token of the last connection, by hash; peers count against its quota (PT-77). */
  readonly tokenHash: string;
  readonly externalId: string;
  readonly name: string;
  /** The protocol level of the last user agent. */
  readonly version: string;
  /** Hardware identifiers and the like, by parameter name. */
  readonly device: Readonly<Record<string, string>>;
  /** A hardware identifier changed since the device was verified (PT-71). */
  readonly isHardwareChanged: boolean;
  /** When it came or left last. */
  readonly seenAt: UnixMs;
}

export interface StoredPeer extends PeerFacts {
  readonly publicKey: Uint8Array;
  readonly pskBase: Uint8Array;
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  /** The address of the last connection. */
  readonly remote: IpAddress;
}

/** A peer as text holds it: keys in base64, addresses as people write them. */
export interface PackedPeer extends PeerFacts {
  readonly publicKey: string;
  readonly pskBase: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly remote: string;
}

/** A resource whose authorisation ended while its client was away (PT-92). */
export interface Rejection {
  readonly cid: string;
  readonly rid: string;
  readonly at: UnixMs;
}

export interface StoredState {
  readonly devices: readonly PackedPeer[];
  readonly gateways: readonly PackedPeer[];
  readonly authorizations: readonly AuthorizationRecord[];
  readonly rejections: readonly Rejection[];
}

export const EMPTY_STATE: StoredState = { devices: [], gateways: [], authorizations: [], rejections: [] };

export type RecordKind = StateChange["kind"];

export type StateChange =
  | { readonly kind: "device" | "gateway"; readonly key: string; readonly value?: PackedPeer }
  | { readonly kind: "authorization"; readonly key: string; readonly value?: AuthorizationRecord }
  | { readonly kind: "rejection"; readonly key: string; readonly value?: Rejection };

export function rejectionKey({ cid, rid }: Pick<Rejection, "cid" | "rid">): string {
  return `${cid}|${rid}`;
}

/** Puts changes together to the state that they describe. */
export interface StateBuilder {
  apply(change: StateChange): void;
  state(): StoredState;
}

export function createStateBuilder(initial: StoredState = EMPTY_STATE): StateBuilder {
  const devices = new Map(initial.devices.map((peer) => [peer.id, peer]));
  const gateways = new Map(initial.gateways.map((peer) => [peer.id, peer]));
  const authorizations = new Map(initial.authorizations.map((record) => [authorizationKey(record), record]));
  const rejections = new Map(initial.rejections.map((rejection) => [rejectionKey(rejection), rejection]));
  return {
    apply(change) {
      switch (change.kind) {
        case "device":
          put(devices, change.key, change.value);
          return;
        case "gateway":
          put(gateways, change.key, change.value);
          return;
        case "authorization":
          put(authorizations, change.key, change.value);
          return;
        case "rejection":
          put(rejections, change.key, change.value);
          return;
        default:
          change satisfies never;
      }
    },
    state: () => ({
      devices: [...devices.values()],
      gateways: [...gateways.values()],
      authorizations: [...authorizations.values()],
      rejections: [...rejections.values()],
    }),
  };
}

function put<T>(table: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) table.delete(key);
  else table.set(key, value);
}
