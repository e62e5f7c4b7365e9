/** Which client's policy stands in which slot of a gateway's plane. */
import type { IpAddress } from "../base/index.ts";

export interface Placed {
  readonly slot: number;
  readonly addresses: readonly IpAddress[];
}

export interface PlacedPolicies {
  readonly byClient: Map<string, Placed>;
  /** A slot may be another client's before the first is heard to be gone. */
  readonly bySlot: Map<number, string>;
  /** What is true for all clients is published. */
  areTablesThere: boolean;
}

export function createPlacedPolicies(): PlacedPolicies {
  return { byClient: new Map(), bySlot: new Map(), areTablesThere: false };
}
