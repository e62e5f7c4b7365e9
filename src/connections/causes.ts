/**
 * Why there is no path, or none that is direct: a text per cause (PG-191). A cause is decided in
 * `explain.ts` from what the agent has seen; here is what a person reads.
 */

/** What the sentences are made of. */
export interface CauseFacts {
  /** Pairs without a relay that were checked. */
  readonly directPairs: number;
  readonly ownFamilies: string;
  readonly peerFamilies: string;
  /** The error that answered a check. */
  readonly errorCode?: number;
  readonly relay?: string;
  /** By which the relay is reached. */
  readonly transport?: string;
  readonly rttMs?: number;
  /** Of the last stream to a relay, while UDP is silent. */
  readonly streamFailure?: string;
  /** Since the connection was made. */
  readonly ageS: number;
}

interface CauseText {
  readonly sentence: (facts: CauseFacts) => string;
  readonly remedy?: string;
}

const OPEN_UDP = "allow UDP out at both ends, or open UDP 52625 towards the gateway";
const SAME_IDENTIFIER = "postern reset at one end; see that no two hosts have the same identifier";

const FORWARD = "for a direct path forward UDP 52625 to either end";

function throughRelay({ relay, rttMs }: CauseFacts): string {
  return `Data goes through the relay ${relay}${rttMs === undefined ? "" : ` (${rttMs} ms)`}`;
}

export const CAUSES = {
  direct: { sentence: () => "The path is direct." },
  searching: {
    sentence: ({ directPairs, ageS }) =>
      `Paths are being looked for since ${ageS} s: ${directPairs} direct pairs of addresses are checked.`,
  },
  "no-own-address": {
    sentence: () => "This end has no address that the other could reach, and no relay.",
    remedy: "connect this host to a network; postern status --json shows its way out under egress",
  },
  "peer-is-mute": {
    sentence: () => "The other end has told none of its addresses: it has lost its portal or its network.",
    remedy: "look at the log and at postern status of the other end",
  },
  "no-common-family": {
    sentence: ({ ownFamilies, peerFamilies }) =>
      `No pair of addresses fits: this end has ${ownFamilies}, the other ${peerFamilies}.`,
    remedy: "give one end the other family too, or let the portal list a relay that has both",
  },
  "answered-by-error": {
    sentence: ({ errorCode }) =>
      `Checks arrive, but the other end refuses them with error ${errorCode}: the ends disagree about the connection.`,
    remedy: SAME_IDENTIFIER,
  },
  "checks-refused": {
    sentence: () => "Checks of the other end arrive, but are not signed as agreed: the ends disagree.",
    remedy: SAME_IDENTIFIER,
  },
  "not-heard": {
    sentence: ({ directPairs }) =>
      `UDP does not pass: none of ${directPairs} direct pairs of addresses was answered, and nothing of the other end arrived.`,
    remedy: OPEN_UDP,
  },
  "nothing-passes": {
    sentence: ({ streamFailure }) =>
      `This network lets nothing pass: UDP is answered neither by the other end nor by a relay, and a TLS connection to a relay fails (${streamFailure}).`,
    remedy:
      "allow UDP out, or TCP 443 to the relays; where an HTTP proxy is the way out, name it in HTTPS_PROXY",
  },
  "one-way": {
    sentence: () =>
      "Checks of the other end arrive here, but it answers none of ours: what this end sends gets lost.",
    remedy: "a firewall drops UDP out of this host or into the other; allow it there",
  },
  "path-died": {
    sentence: () =>
      "The path worked and then nobody answered any more: the other end, or the way to it, is gone.",
    remedy: "see whether the other end runs; a new connection is made as soon as something is sent",
  },
  "handshake-silent": {
    sentence: () => "A path was found, but WireGuard's handshake got no answer over it.",
    remedy: SAME_IDENTIFIER,
  },
  "handshake-keys": {
    sentence: () => "WireGuard's handshake was answered with other keys than agreed.",
    remedy: SAME_IDENTIFIER,
  },
  "relayed-not-heard": {
    sentence: (facts) =>
      `${throughRelay(facts)}: none of ${facts.directPairs} direct pairs of addresses was answered.`,
    remedy: "for a direct path allow UDP out at both ends, or open UDP 52625 towards the gateway",
  },
  "relayed-both-remap": {
    sentence: (facts) =>
      `${throughRelay(facts)}: the routers of both ends give every destination another port, so neither end knows where to send.`,
    remedy: FORWARD,
  },
  "relayed-own-remaps": {
    sentence: (facts) =>
      `${throughRelay(facts)}: the router of this end gives every destination another port, and the other end lets in only what it knows.`,
    remedy: FORWARD,
  },
  "relayed-peer-remaps": {
    sentence: (facts) =>
      `${throughRelay(facts)}: the router of the other end gives every destination another port, and this end lets in only what it knows.`,
    remedy: FORWARD,
  },
  "relayed-one-way": {
    sentence: ({ relay }) =>
      `Data goes through the relay ${relay}: checks of the other end arrive directly, but it answers none of ours.`,
    remedy: "a firewall drops UDP out of this host or into the other; allow it there",
  },
  "relayed-no-pair": {
    sentence: ({ relay, ownFamilies, peerFamilies }) =>
      `Data goes through the relay ${relay}: no direct pair of addresses fits (own ${ownFamilies}, other ${peerFamilies}).`,
    remedy: "give one end the other family too",
  },
  "relayed-for-now": {
    sentence: ({ relay }) =>
      `Data goes through the relay ${relay} while direct paths are still being checked.`,
  },
  "relayed-stream": {
    sentence: ({ relay, transport, rttMs }) =>
      `Data goes through the relay ${relay} over ${transport}${rttMs === undefined ? "" : ` (${rttMs} ms)`}: no relay answers by UDP.`,
    remedy: "allow UDP out of this network, at least to port 3478 of the relays; TLS is slower by nature",
  },
} as const satisfies Readonly<Record<string, CauseText>>;

export type Cause = keyof typeof CAUSES;
