/** What a relay measures (RL-71, PG-114), as a pure function of its status. */
import type { RelayServerStatus } from "../control/index.ts";
import { type Sample, sample, samplesBy } from "../metrics/index.ts";

const DROP = "drop_";

export function relaySamples(status: RelayServerStatus): readonly Sample[] {
  const { allocations, channels, streams, relayed, counters, portal } = status;
  const flows = Object.entries({ to_peers: relayed.to_peers, to_clients: relayed.to_clients });
  return [
    sample("postern_relay_allocations", allocations),
    sample("postern_relay_channels", channels),
    ...(streams === undefined ? [] : [sample("postern_relay_streams", streams)]),
    ...flows.flatMap(([direction, { packets, bytes }]) => [
      sample("postern_relay_packets_total", packets, { direction }),
      sample("postern_relay_bytes_total", bytes, { direction }),
    ]),
    ...samplesBy("postern_relay_answers_total", "answer", named(counters.control, "answer_")),
    ...Object.entries(counters).flatMap(([direction, counts]) =>
      samplesBy("postern_dropped_total", "reason", named(counts, DROP), { direction }),
    ),
    sample("postern_relay_punts_total", counters.client["packets_punted"] ?? 0),
    sample("postern_relay_gso_fallbacks_total", sum(counters, "gso_disabled")),
    ...(portal === null ? [] : [sample("postern_portal_connected", portal.state === "connected" ? 1 : 0)]),
  ];
}

/** The counts whose names begin so, without the beginning. */
function named(counts: Readonly<Record<string, number>>, prefix: string): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(counts)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, count]) => [name.slice(prefix.length), count]),
  );
}

function sum(counters: RelayServerStatus["counters"], name: string): number {
  return Object.values(counters).reduce((total, counts) => total + (counts[name] ?? 0), 0);
}
