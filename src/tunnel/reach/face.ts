/** What everybody may ask a resource's reach, whatever its kind. */
import type { Prefix } from "../../base/index.ts";
import type { PacketView } from "../../packet/index.ts";

/** A packet as filters see it, from the client's side (TN-58). */
export type Flow = Pick<PacketView, "protocol" | "ports"> & {
  readonly destination: PacketView["destination"];
};

export interface Reach {
  /** Where packets of the resource go, as far as addresses say it; none for names. */
  readonly networks: readonly Prefix[];
  /** What leads into the client's device for it (TN-16). */
  readonly routes: readonly Prefix[];
  /** The names it has, as a pattern (DN-27); absent: it is reached by address. */
  readonly pattern?: string;
  /** It has what no other resource has: the internet (TN-21 no. 3). */
  readonly isRest: boolean;
  /** Whether the filters let the flow pass, wherever it goes (TN-56). */
  permits(flow: Flow): boolean;
  /** There are filters: an address alone does not decide. */
  readonly isFiltered: boolean;
  /** What access was granted to; if it becomes another, access ends (TN-25, TN-51). */
  readonly identity: string;
  /** Where it stands in a list (TN-19). */
  readonly rank: number;
}
