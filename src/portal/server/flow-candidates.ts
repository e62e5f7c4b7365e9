/**
 * Candidates between client and gateway, unread and in their order (PT-87).
 */
import type { Instant } from "../../base/index.ts";
import type { ClientRequest } from "../protocol/index.ts";
import { pushToClient, pushToGateway } from "./core.ts";
import type { Flow, FlowTable, GatewayCandidates } from "./flow-table.ts";
import type { PeerSocket } from "./sockets.ts";

export type ClientCandidates = Exclude<ClientRequest, { kind: "create-flow" }>;

const MAX_HELD_CANDIDATES = 64;

export function passToGateways(
  { core, pendingOfPair }: FlowTable,
  now: Instant,
  client: PeerSocket,
  { kind, gids, candidates }: ClientCandidates,
): void {
  const isNew = kind === "broadcast-ice-candidates";
  const cid = client.peerId;
  for (const gid of new Set(gids)) {
    const gateway = core.sockets.readyPeer("gateway", gid);
    if (!mayExchange({ core, pendingOfPair }, now, cid, gid)) {
      core.counters.candidatesUnauthorized += candidates.length;
    } else if (gateway === undefined) {
      core.counters.candidatesDropped += candidates.length;
    } else {
      const event = isNew ? "ice-candidates" : "invalidate-ice-candidates";
      pushToGateway(core, gateway, { kind: event, cid, candidates });
    }
  }
}

export function passToClients(
  table: FlowTable,
  now: Instant,
  gateway: PeerSocket,
  request: GatewayCandidates,
): void {
  const gid = gateway.peerId;
  for (const cid of new Set(request.cids)) {
    const [flow] = table.pendingOfPair.get(`${cid}|${gid}`) ?? [];
    if (flow !== undefined) hold(table, flow, request);
    else if (mayExchange(table, now, cid, gid)) passToClient(table, cid, gid, request);
    else table.core.counters.candidatesUnauthorized += request.candidates.length;
  }
}

/** What waited for `flow_created`, right after it. */
export function releaseHeld(table: FlowTable, flow: Flow): void {
  const { cid, gid } = flow.record;
  for (const held of flow.held) passToClient(table, cid, gid, held);
  flow.held = [];
}

function passToClient(
  { core }: FlowTable,
  cid: string,
  gid: string,
  { kind, candidates }: GatewayCandidates,
): void {
  const client = core.sockets.readyPeer("client", cid);
  if (client === undefined) {
    core.counters.candidatesDropped += candidates.length;
    return;
  }
  const isNew = kind === "broadcast-ice-candidates";
  pushToClient(core, client, {
    kind: isNew ? "ice-candidates" : "invalidate-ice-candidates",
    gid,
    candidates,
  });
}

function hold({ core }: FlowTable, flow: Flow, request: GatewayCandidates): void {
  const candidates = request.candidates.slice(0, MAX_HELD_CANDIDATES - flow.heldCount);
  core.counters.candidatesDropped += request.candidates.length - candidates.length;
  if (candidates.length === 0) return;
  flow.heldCount += candidates.length;
  flow.held.push({ ...request, candidates });
}

/** Only peers with a live authorisation or a pending flow hear of each other. */
function mayExchange(
  { core, pendingOfPair }: Pick<FlowTable, "core" | "pendingOfPair">,
  now: Instant,
  cid: string,
  gid: string,
): boolean {
  if (pendingOfPair.has(`${cid}|${gid}`)) return true;
  return core.store.authorizations.ofPair(cid, gid, core.clock.wallNow(now)).length > 0;
}
