/** What everybody may ask a resource's reach, whatever its kind. */
import type { Prefix } from "../../base/index.ts";
import type { PacketView } from "../../packet/index.ts";

/** A packet as filters see it, from the client's side (TN-58). */
export type Flow = Pick<PacketView, "protocol" | "ports"> & {
  readonly destination: PacketView["destination"];
};

export interface Reach {
  /** Where packets of the resource go; empty while nothing is known by address. */
  readonly networks: readonly Prefix[];
  /** Whether the resource lets the flow pass (TN-21, TN-56). */
  allows(flow: Flow): boolean;
  /** What access was granted to; if it becomes another, access ends (TN-25, TN-51). */
  readonly identity: string;
  /** Where it stands in a list (TN-19). */
  readonly rank: number;
  /** Why this version cannot open it at a gateway; absent: it can. */
  readonly obstacle?: string;
}
