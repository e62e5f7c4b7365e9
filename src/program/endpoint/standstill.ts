/** What becomes of connections when the process stood still, and the network is the same (PG-74). */
import type { Log } from "../../base/index.ts";
import type { Resets } from "./resets.ts";
import type { PeerMachine, PeerWiring, TunnelRole } from "./role.ts";
import type { Tunnel } from "./tunnel.ts";

export interface StandstillParts {
  readonly role: Pick<TunnelRole<PeerMachine>, "keepsForMs">;
  readonly machine: Pick<PeerMachine, "checkPaths">;
  readonly shell: Pick<Tunnel<PeerMachine>["shell"], "input">;
  readonly wiring: Pick<PeerWiring, "check">;
  readonly resets: Pick<Resets, "request">;
  readonly log: Log;
}

/** A busy machine is no other network: who can, keeps what others rely on, and looks whether it lives. */
export function handleStandstill(parts: StandstillParts, stillMs: number): void {
  const { role, machine, shell, wiring, resets, log } = parts;
  if (stillMs >= role.keepsForMs) return resets.request("resume from suspend");
  log.info?.("stood still; the network is the same, so connections are kept and checked", { stillMs });
  shell.input((now) => machine.checkPaths(now));
  wiring.check();
}
