/** Flows as a gateway logs and shows them (PG-104, PG-108). */
import { formatIp, formatSocketAddress, type Instant, type Log } from "../../base/index.ts";
import type { FlowEnd } from "../../plane/index.ts";
import type { FlowReport, RunningFlow } from "../../tunnel/index.ts";
import type { RunningFlowView } from "../control/index.ts";

/** One line of the flow log; what is not known is left out. */
export function logFlow(log: Log, flow: FlowReport): void {
  const { resource, outer, client, real, tx, rx } = flow;
  log.scope(`flow_logs.${flow.protocol}`).trace?.("flow ended", {
    client_id: flow.cid,
    ...flow.subject,
    resource_id: flow.rid,
    resource_name: resource.name,
    resource_address: resource.address,
    start: new Date(flow.start),
    end: new Date(flow.end),
    last_packet: new Date(flow.lastPacket),
    ...endFields("inner", client, real),
    inner_domain: flow.domain,
    ...(outer && endFields("outer", outer.client, outer.gateway)),
    rx_packets: rx.packets,
    tx_packets: tx.packets,
    rx_bytes: rx.bytes,
    tx_bytes: tx.bytes,
  });
}

function endFields(where: "inner" | "outer", source: FlowEnd, destination: FlowEnd): Record<string, unknown> {
  return {
    [`${where}_src_ip`]: formatIp(source.address),
    [`${where}_src_port`]: source.port,
    [`${where}_dst_ip`]: formatIp(destination.address),
    [`${where}_dst_port`]: destination.port,
  };
}

const NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6" };

export function toFlowView(now: Instant, flow: RunningFlow): RunningFlowView {
  const { cid, verdict, record, domain, usage } = flow;
  const { protocol, client, remote, outside } = record;
  const hasPorts = protocol === 6 || protocol === 17;
  const show = (end: FlowEnd): string => (hasPorts ? formatSocketAddress(end) : formatIp(end.address));
  const isPermitted = verdict.kind === "pass" || verdict.kind === "nat";
  const last = Math.max(usage.out.last, usage.in.last);
  return {
    cid,
    rid: (isPermitted ? verdict.rid : undefined) ?? null,
    protocol: NAMES[protocol] ?? String(protocol),
    client: show(client),
    remote: show(remote),
    real: outside === undefined ? null : show({ address: outside.address, port: remote.port }),
    domain: domain ?? null,
    verdict: verdict.kind === "refuse" ? verdict.refusal : verdict.kind,
    tx_packets: usage.out.packets,
    tx_bytes: usage.out.bytes,
    rx_packets: usage.in.packets,
    rx_bytes: usage.in.bytes,
    last_activity_s: Math.max(0, Math.floor((now - last) / 1000)),
  };
}
