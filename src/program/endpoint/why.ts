/** Explanations of the connections as the control socket shows them (PG-190). */
import { formatSocketAddress, type Instant } from "../../base/index.ts";
import type { Explanation } from "../../connections/index.ts";
import type { ConnectionView, NatView, PairView, WhyView } from "../control/index.ts";

export interface WhyParts {
  readonly explanations: readonly Explanation[];
  readonly role: "client" | "gateway";
  readonly now: Instant;
}

export function whyViews({ explanations, role, now }: WhyParts): readonly WhyView[] {
  return explanations.map((explanation) => {
    const { id, state, since, path, cause, sentence, remedy, relay, pairs } = explanation;
    return {
      ...idOf(role, id),
      state,
      since: wallTime(now, since),
      path,
      cause,
      sentence,
      remedy: remedy ?? null,
      udp_passed: explanation.hasUdpPassed,
      own_families: explanation.ownFamilies,
      peer_families: explanation.peerFamilies,
      own_nat: natView(explanation.ownNat),
      peer_nat: natView(explanation.peerNat),
      relay:
        relay === undefined
          ? null
          : { id: relay.id, transport: relay.transport, state: relay.state, rtt_ms: relay.rttMs ?? null },
      pairs: pairs.map((pair) => pairView(pair, now)),
    };
  });
}

function natView({ mapping, isPortKept }: Explanation["ownNat"]): NatView {
  return { mapping, port_kept: isPortKept ?? null };
}

function pairView(pair: Explanation["pairs"][number], now: Instant): PairView {
  const seconds = (at: Instant | undefined): number | null =>
    at === undefined ? null : Math.max(0, Math.round((now - at) / 1000));
  return {
    local: `${pair.localKind} ${formatSocketAddress(pair.base)}`,
    remote: `${pair.remoteKind} ${formatSocketAddress(pair.remote)}`,
    state: pair.state,
    checks: pair.checksSent,
    last_check_s: seconds(pair.lastSentAt),
    last_answer_s: seconds(pair.lastAnsweredAt),
    rtt_ms: pair.rttMs ?? null,
    error: pair.errorCode ?? null,
    heard_s: seconds(pair.heardAt),
  };
}

/** Connections that have failed and were not made anew, as rows of status. */
export function failedViews({ explanations, role, now }: WhyParts): readonly ConnectionView[] {
  return explanations
    .filter(({ state }) => state === "failed")
    .map(({ id, since, sentence }) => ({
      ...idOf(role, id),
      name: null,
      state: "failed",
      path: "none",
      local: null,
      remote: null,
      relay: null,
      mtu: null,
      mtu_inside: null,
      rtt_ms: null,
      rx_bytes: 0,
      tx_bytes: 0,
      rx_packets: 0,
      tx_packets: 0,
      handshake_age_s: null,
      last_activity_s: null,
      sessions: 0,
      since: wallTime(now, since),
      why: sentence,
    }));
}

/** The sentence that stands behind a connection which is not direct. */
export function whyOf(explanations: readonly Explanation[], id: string): string | null {
  const found = explanations.find((explanation) => explanation.id === id);
  return found === undefined || found.path === "direct" ? null : found.sentence;
}

function idOf(role: WhyParts["role"], id: string): { readonly gid: string } | { readonly cid: string } {
  return role === "client" ? { gid: id } : { cid: id };
}

function wallTime(now: Instant, at: Instant): string {
  return new Date(Date.now() - (now - at)).toISOString();
}
