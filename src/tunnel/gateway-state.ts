/** What the parts of the gateway share, and how access begins and ends (TN-50 to TN-54). */
import type { DeadlineQueue, Instant, IpAddress, WallClock } from "../base/index.ts";
import type { NameServer, NameServerEvent, SetupQuery, SetupResult } from "../dns/index.ts";
import { createTokenBucket, type TokenBucket } from "../packet/index.ts";
import type { GatewayRequest } from "../portal/protocol/index.ts";
import type { Admission } from "./admission.ts";
import type { EndState, InterfaceEvent } from "./endpoint.ts";
import type { BookedFlow, FlowBook } from "./flow-book.ts";
import type { FlowLog, FlowReport } from "./flow-log.ts";
import type { Fragments } from "./fragments.ts";
import type { Grants } from "./grants.ts";
import { type ClientNat, createClientNat } from "./nat/client-nat.ts";
import type { Ageing } from "./nat/mappings.ts";
import type { Setups } from "./nat/setups.ts";
import type { PlacedPolicies } from "./placed.ts";
import type { RelaysWanted } from "./relays.ts";
import type { Verdict } from "./verdict.ts";

export type TunnelGatewayEvent =
  | { readonly kind: "request"; readonly request: GatewayRequest }
  | InterfaceEvent
  | { readonly kind: "connected" | "disconnected"; readonly cid: string }
  /** A name to be looked up; the answer is `handleSetupResult` (TN-63). */
  | { readonly kind: "resolve-setup"; readonly query: SetupQuery }
  /** For the flow log (TN-91). */
  | { readonly kind: "flow-ended"; readonly flow: FlowReport }
  | { readonly kind: "dns"; readonly event: NameServerEvent }
  | RelaysWanted;

/** Drops that the gateway's control decides, by the reasons of tunnel.md. */
export type TunnelGatewayCounter =
  | "refused"
  | "icmp-rate"
  | "p2p-bad"
  | "no-peer-state"
  | "not-allowed"
  | "expired-nat"
  | "icmp-quote"
  | "icmp-error-out"
  | "flow-table-full"
  | "fragment-unknown";

/** What becomes of a packet that goes this way. */
export interface Decision {
  readonly verdict: Verdict;
  readonly direction: "out" | "in";
  /** The flow's record, where the table had room for one. */
  readonly row?: BookedFlow<Verdict> | undefined;
}

/** Refusals made for one client (tunnel.md §1, `ICMP_MAKE_RATE`). */
const REFUSAL_LIMIT = { ratePerSecond: 100, burst: 50 };

export interface GatewayState extends EndState<TunnelGatewayEvent> {
  /** Whose policy stands in the plane, and where. */
  readonly placed: PlacedPolicies;
  /** What expires, expires by it (TN-53). */
  readonly clock: WallClock;
  readonly grants: Grants;
  /** Who begins, and who waits (TN-122). */
  readonly admission: Admission;
  /** Per client: how many refusals it may cause (tunnel.md §1, `ICMP_MAKE_RATE`). */
  readonly refusals: Map<string, TokenBucket>;
  /** By client; it goes with the client's last grant (TN-50). */
  readonly nats: Map<string, ClientNat>;
  readonly setups: Setups;
  /** Absent: clients' questions about names are nobody's (DN-84). */
  nameServer: NameServer | undefined;
  /** Of clients' names, by result (DN-113). */
  readonly lookups: Record<SetupResult["kind"], number>;
  readonly flows: FlowBook<Verdict>;
  /** By client, of the packets that control settles. */
  readonly fragments: Fragments<Decision>;
  /** Absent: flows are not logged. */
  readonly flowLog: FlowLog | undefined;
  /** Mappings of all clients that end by themselves (TN-68). */
  readonly ageing: DeadlineQueue<Ageing>;
  /** When those were looked at last: at most once per `SWEEP`. */
  agedAt: Instant;
  readonly isHostOpen: boolean;
  /** `--allow-link-local`: names may lead to link-local addresses (TN-64). */
  readonly isLinkLocalAllowed: boolean;
  readonly counters: Record<TunnelGatewayCounter, number>;
}

export function natOf({ nats, ageing }: GatewayState, cid: string): ClientNat {
  const nat = nats.get(cid) ?? createClientNat(ageing);
  nats.set(cid, nat);
  return nat;
}

export function realsOf(nat: ClientNat | undefined): readonly IpAddress[] {
  return [...(nat?.entries.values() ?? [])].flatMap(({ real }) => real ?? []);
}

/** What was decided about the client's flows holds no more: each is judged again (TN-82). */
export function forgetFlows({ flows, fragments, connections }: GatewayState, cid: string): void {
  fragments.forget(cid);
  flows.revoke(cid, connections.slotOf(cid));
}

export function mayRefuse({ refusals }: GatewayState, now: Instant, cid: string): boolean {
  const bucket = refusals.get(cid) ?? createTokenBucket(REFUSAL_LIMIT);
  refusals.set(cid, bucket);
  return bucket.take(now);
}
