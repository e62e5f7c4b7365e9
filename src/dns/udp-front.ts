/** Packets of the TUN device to sentinels and to the groups of LLMNR (DN-25, DN-58 to DN-60). */
import { equalIp, type Instant } from "../base/index.ts";
import { encodeRefusal, encodeUdp, type PacketView, PROTOCOL, viewPacket } from "../packet/index.ts";
import { handleQuery } from "./answering.ts";
import { type Assignment, assign } from "./assignments.ts";
import { CLASS_IN, DNS_PORT, RCODE, UDP_HEADER_BYTES } from "./constants.ts";
import { decideQuery, proxyRecords } from "./decide.ts";
import { encodeLocal } from "./local-answer.ts";
import { domainOf } from "./name.ts";
import { LLMNR_GROUPS } from "./pools.ts";
import { checkQuery } from "./query.ts";
import { count, hasFamily, ownAddress, type ResolverState, upstreamOf } from "./resolver-state.ts";
import { findNamedResource } from "./resource-names.ts";
import { handleTcpPacket } from "./tcp-front.ts";

export const LLMNR_PORT = 5355;
const LLMNR_HOP_LIMIT = 255;
/** QR, opcode, C and TC: all zero in a query (RFC 4795 §2.1.1). */
const LLMNR_FLAGS_ZERO = 0xfe00;

const NOTHING_ASSIGNED: Assignment = { kind: "known", name: { domain: "", rid: "", proxies: [] } };

export function handlePacket(state: ResolverState, now: Instant, packet: Uint8Array): void {
  const view = viewPacket(packet);
  const own = ownAddress(state, view.source);
  if (own === undefined || !equalIp(own, view.source)) return count(state, "dns_drop_source");
  if (LLMNR_GROUPS.some((group) => equalIp(group, view.destination))) return handleLlmnr(state, view);
  const upstream = upstreamOf(state, now, view.destination);
  if (upstream === undefined) return count(state, "dns_drop_unmapped");
  if (view.protocol === PROTOCOL.tcp) return handleTcpPacket(state, now, packet);
  if (view.protocol !== PROTOCOL.udp || view.ports === undefined) return count(state, "dns_drop_other");
  if (view.ports.destination !== DNS_PORT) {
    count(state, "dns_drop_other");
    const refusal = encodeRefusal(packet, "port-unreachable");
    if (refusal !== undefined) state.packets.push(refusal);
    return;
  }
  count(state, "dns_queries_udp");
  const asker = {
    kind: "udp",
    sentinel: { address: view.destination.slice(), port: DNS_PORT },
    peer: { address: view.source.slice(), port: view.ports.source },
  } as const;
  handleQuery(state, now, { asker, bytes: payloadOf(view), upstream, isV6: view.family === 6 });
}

function payloadOf({ transport }: PacketView): Uint8Array {
  const length = ((transport[4] ?? 0) << 8) | (transport[5] ?? 0);
  return transport.subarray(UDP_HEADER_BYTES, length);
}

/** Names of resources only; about all others we say nothing, least of all that they do not exist. */
function handleLlmnr(state: ResolverState, view: PacketView): void {
  if (view.protocol !== PROTOCOL.udp || view.ports?.destination !== LLMNR_PORT)
    return count(state, "dns_drop_other");
  count(state, "dns_queries_llmnr");
  const bytes = payloadOf(view);
  const flags = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0);
  const check = checkQuery(bytes);
  if (check.kind !== "query" || (flags & LLMNR_FLAGS_ZERO) !== 0 || hasRecords(bytes)) return;
  const { question } = check.query;
  const resource = question.class === CLASS_IN ? findNamedResource(state.names, question.name) : undefined;
  if (resource === undefined) {
    state.events.push({ kind: "queried" });
    return;
  }
  const decision = decideQuery(question, { resource, assignmentOf: () => undefined });
  const isAsked = decision.kind === "proxies";
  const assigned = isAsked ? assign(state.assignments, question.name, resource) : NOTHING_ASSIGNED;
  if (assigned.kind === "new") state.events.push({ kind: "records-changed" });
  state.events.push({ kind: "queried", domain: domainOf(question.name), rid: resource.rid });
  const sentinel = state.mapping.find((one) => one.sentinel.length === view.source.length)?.sentinel;
  if (sentinel === undefined || (assigned.kind !== "known" && assigned.kind !== "new")) return;
  const records = proxyRecords(question.type, assigned.name.proxies, (family) =>
    hasFamily(state, resource, family),
  );
  const answer = encodeLocal(check.query, { rcode: RCODE.noError, records });
  // RD and RA have other meanings, and are zero (RFC 4795 §2.1.1).
  answer.set([0x80, 0], 2);
  const from = { address: sentinel, port: LLMNR_PORT };
  const to = { address: view.source, port: view.ports.source };
  const packet = encodeUdp(from, to, answer, LLMNR_HOP_LIMIT);
  if (packet.ok) state.packets.push(packet.value);
}

function hasRecords(bytes: Uint8Array): boolean {
  return bytes.subarray(6, 12).some((byte) => byte !== 0);
}
