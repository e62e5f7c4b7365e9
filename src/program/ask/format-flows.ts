/** The text of `postern flows` (PG-108). */
import type { RunningFlowView } from "../control/index.ts";
import { formatBytes, formatSeconds, formatTable } from "./table.ts";

export function formatFlows(flows: readonly RunningFlowView[]): readonly string[] {
  if (flows.length === 0) return ["no flows"];
  return formatTable(
    [
      { title: "PROTO" },
      { title: "CLIENT", least: 12 },
      { title: "RESOURCE", least: 12 },
      { title: "VERDICT" },
      { title: "↓", isNumber: true },
      { title: "↑", isNumber: true },
      { title: "LAST", isNumber: true },
    ],
    flows.map((flow) => [
      flow.protocol,
      flow.client,
      resourceOf(flow),
      flow.verdict,
      // As at the client: down is what it gets.
      formatBytes(flow.rx_bytes),
      formatBytes(flow.tx_bytes),
      formatSeconds(flow.last_activity_s),
    ]),
  );
}

/** Names say more than the addresses that stand for them. */
function resourceOf({ domain, remote, protocol }: RunningFlowView): string {
  if (domain === null) return remote;
  const port = remote.slice(remote.lastIndexOf(":") + 1);
  return protocol === "tcp" || protocol === "udp" ? `${domain}:${port}` : domain;
}
