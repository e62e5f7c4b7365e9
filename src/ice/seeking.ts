/**
 * Looks for a direct path while data goes through a relay (SN-146): a firewall may have been opened, a NAT
 * replaced, since its pairs were given up.
 */
import { after, type Instant } from "../base/index.ts";
import type { AgentState } from "./agent-state.ts";
import { canPair, formPair, tryAgain } from "./checklist.ts";
import { isIceConnected } from "./connectivity.ts";
import { DEFAULT_TIMINGS, SEEK_EVERY_MS } from "./constants.ts";
import { type LocalEntry, pairKey, type RemoteEntry } from "./pair.ts";

/** When direct pairs are formed again, if the agent has reason to. */
export function seekAt({ selected, state, timings, seek }: AgentState): Instant | undefined {
  if (selected === undefined || !isIceConnected(state) || timings !== DEFAULT_TIMINGS) return undefined;
  if (isDirect(selected.local, selected.remote)) return undefined;
  return after(seek.lastAt ?? selected.formedAt, SEEK_EVERY_MS);
}

/** Forms the direct pairs that are missing, if it is time. They may be more than there is room for. */
export function seek(agent: AgentState, now: Instant): void {
  const due = seekAt(agent);
  if (due === undefined || due > now) return;
  agent.seek.lastAt = now;
  const living = new Set(agent.pairs.map(({ key }) => key));
  for (const remote of agent.remotes.entries) {
    for (const local of agent.locals) {
      if (!isDirect(local, remote) || !canPair(local, remote)) continue;
      if (living.has(pairKey(local.candidate.base, remote.candidate.address))) continue;
      tryAgain(agent.givenUp, formPair(agent.pairs, { role: agent.options.role, local, remote, now }));
    }
  }
}

function isDirect(local: LocalEntry, remote: RemoteEntry): boolean {
  return local.candidate.kind !== "relay" && remote.candidate.kind !== "relay";
}
