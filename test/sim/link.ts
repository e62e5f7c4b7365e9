/** The conditions of a link, each way, and the profiles of links that people have (TS-10). */

/** Probabilities are 0 to 1 per datagram. */
export interface LinkConditions {
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly loss: number;
  /** Losses come together (Gilbert–Elliott): how a bad time begins and ends, and what is lost in it. */
  readonly burst: { readonly begins: number; readonly ends: number; readonly loss: number } | undefined;
  readonly duplication: number;
  /** A datagram that is held back arrives this much later. */
  readonly reordering: number;
  readonly reorderMs: number;
  /** One flipped bit. */
  readonly corruption: number;
  readonly isDown: boolean;
  /** Of IP packets, in bytes. What is longer is lost, and its sender is told unless ICMP is blocked. */
  readonly mtu: number;
  readonly isIcmpBlocked: boolean;
  readonly dropsFragments: boolean;
}

export const PERFECT: LinkConditions = {
  latencyMs: 0,
  jitterMs: 0,
  loss: 0,
  burst: undefined,
  duplication: 0,
  reordering: 0,
  reorderMs: 30,
  corruption: 0,
  isDown: false,
  mtu: 1500,
  isIcmpBlocked: false,
  dropsFragments: false,
};

export const PROFILES = {
  perfect: {},
  dsl: { latencyMs: 12, jitterMs: 2, mtu: 1492 },
  mobile: {
    latencyMs: 35,
    jitterMs: 25,
    burst: { begins: 0.005, ends: 0.2, loss: 0.5 },
    duplication: 0.005,
    reordering: 0.02,
    reorderMs: 20,
    mtu: 1420,
  },
  lossy: { latencyMs: 20, jitterMs: 5, loss: 0.2 },
  satellite: { latencyMs: 400, jitterMs: 10, loss: 0.005 },
} as const satisfies Record<string, Partial<LinkConditions>>;

export type LinkProfile = keyof typeof PROFILES;
