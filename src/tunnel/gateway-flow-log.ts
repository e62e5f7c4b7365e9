/** The gateway's flow logs: what is told of each flow besides its packets (TN-91). */
import { formatPrefix, type Instant } from "../base/index.ts";
import { farewellOf, isSyn, type PacketView, PROTOCOL } from "../packet/index.ts";
import type { AuthorizeFlow, GatewayResource } from "../portal/protocol/index.ts";
import type { BookedFlow } from "./flow-book.ts";
import type { FlowFacts, FlowReport, LoggedFlow } from "./flow-log.ts";
import type { GatewayState } from "./gateway-state.ts";
import { type Entries, entryOf } from "./nat/entries.ts";
import type { Verdict } from "./verdict.ts";

/** Of what the portal may say of a device, what is logged (PG-104). */
const DEVICE_FIELDS = ["device_os_name", "device_os_version", "device_serial", "device_uuid"] as const;

/** Client and actor, by the names of the log's fields. */
export function subjectOf({ client, subject }: AuthorizeFlow): Readonly<Record<string, string>> {
  const device = Object.fromEntries(
    DEVICE_FIELDS.flatMap((name) => {
      const value = client.device[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return { ...(client.version !== undefined && { client_version: client.version }), ...device, ...subject };
}

export interface JudgedFlow {
  readonly cid: string;
  readonly view: PacketView;
  readonly row: BookedFlow<Verdict>;
}

/** A record was linked: a flow begins or goes on, or must not any more. */
export function logLinked(gateway: GatewayState, now: Instant, { cid, view, row }: JudgedFlow): void {
  const { flowLog } = gateway;
  const { record, note } = row;
  if (flowLog === undefined || (view.protocol !== PROTOCOL.tcp && view.protocol !== PROTOCOL.udp)) return;
  const isPermitted = note.kind === "nat" || note.kind === "pass";
  const rid = isPermitted ? note.rid : undefined;
  // The gateway's own services are nobody's resource.
  if (rid === undefined) return flowLog.refuse(now, cid, record);
  const facts = factsOf(gateway, cid, rid, note);
  if (facts === undefined) return;
  const { hasFin, hasRst } = farewellOf(view);
  flowLog.attach(now, { cid, rid, row, facts, isAnew: isSyn(view), isEnding: hasFin || hasRst });
}

function factsOf(
  { grants, nats }: GatewayState,
  cid: string,
  rid: string,
  verdict: Verdict,
): FlowFacts | undefined {
  const grant = grants.client(cid)?.grants.get(rid);
  if (grant === undefined) return undefined;
  const domain = domainOf(nats.get(cid)?.entries, verdict);
  return {
    resource: describeResource(grant.resource),
    ...(domain !== undefined && { domain }),
    subject: grant.subject ?? {},
  };
}

/** The name whose proxy address a flow goes to. */
export function domainOf(entries: Entries | undefined, verdict: Verdict): string | undefined {
  if (entries === undefined || verdict.kind !== "nat") return undefined;
  return entryOf(entries, verdict.mapping.inside.proxy)?.domain;
}

function describeResource(resource: GatewayResource): FlowFacts["resource"] {
  if (resource.kind === "internet") return {};
  const { name, address } = resource;
  return { name, address: typeof address === "string" ? address : formatPrefix(address) };
}

/** One more packet that control settles, and that the plane has not counted. */
export function logSettled(
  { flowLog }: GatewayState,
  now: Instant,
  view: PacketView,
  { row, direction }: { readonly row: BookedFlow<Verdict>; readonly direction: "out" | "in" },
): void {
  flowLog?.note(now, row.record, direction, payloadBytes(view));
}

/** The same of a later fragment, which is all payload: what looks like ports is none. */
export function logLater(
  { flowLog }: GatewayState,
  now: Instant,
  { transport }: PacketView,
  { row, direction }: { readonly row: BookedFlow<Verdict>; readonly direction: "out" | "in" },
): void {
  flowLog?.note(now, row.record, direction, transport.length);
}

/** Of UDP and ICMP. */
const SHORT_HEADER_BYTES = 8;

/** As the plane counts it: what is behind the transport header. */
export function payloadBytes({ protocol, transport, ports }: PacketView): number {
  if (ports === undefined) return transport.length;
  const header = protocol === PROTOCOL.tcp ? ((transport[12] ?? 0) >> 4) * 4 : SHORT_HEADER_BYTES;
  return Math.max(0, transport.length - header);
}

/** After every input: what has ended is told. @param unlink takes a record out of the plane */
export function drainFlowLog(gateway: GatewayState, unlink: (row: BookedFlow<Verdict>) => void): void {
  const { flowLog, events } = gateway;
  if (flowLog === undefined) return;
  for (let row = flowLog.pollIdle(); row !== undefined; row = flowLog.pollIdle()) unlink(row);
  for (let flow = flowLog.poll(); flow !== undefined; flow = flowLog.poll()) {
    events.push({ kind: "flow-ended", flow: toReport(gateway, flow) });
  }
}

function toReport({ clock, connections }: GatewayState, flow: LoggedFlow): FlowReport {
  const { protocol, cid, rid, facts, client, real, tx, rx } = flow;
  const path = connections.pathShown(cid);
  return {
    ...facts,
    ...{ cid, rid, client, real, tx, rx },
    protocol: protocol === PROTOCOL.tcp ? "tcp" : "udp",
    ...(path && { outer: { client: path.destination, gateway: path.source } }),
    start: clock.wallNow(flow.start),
    end: clock.wallNow(flow.end),
    lastPacket: clock.wallNow(flow.lastPacket),
  };
}
