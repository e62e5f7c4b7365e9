/** What a running client or gateway can be asked and told (PG-108). */
import * as v from "valibot";
import type { PeerStatus, WhyView } from "../control/index.ts";
import { type CommonParts, type ControlMethods, commonMethods, method } from "../control/index.ts";

export interface PeerControlParts extends CommonParts {
  readonly status: () => PeerStatus;
  readonly why: () => readonly WhyView[];
  /** Connects anew (PG-75). */
  readonly reset: (reason: string) => void;
  /** What only this role can be told. */
  readonly ofRole: ControlMethods;
}

const REASON_CHARACTERS_MAX = 100;

export function peerMethods(parts: PeerControlParts): ControlMethods {
  const { status, why, reset, ofRole } = parts;
  return {
    ...commonMethods(parts),
    ...ofRole,
    resources: method({}, () => status().resources),
    connections: method({}, () => status().connections),
    why: method({}, () => why()),
    reset: method(
      { reason: v.optional(v.pipe(v.string(), v.maxLength(REASON_CHARACTERS_MAX)), "asked for") },
      ({ reason }) => {
        reset(reason);
        return {};
      },
    ),
  };
}
