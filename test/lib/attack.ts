/** Starts `attacker.mjs` on a router and listens to what it says. */
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";

const ATTACKER = join(import.meta.dirname, "attacker.mjs");
const WITHIN_MS = 20_000;

export interface AttackPlan {
  readonly seed?: number;
  /** Datagrams per end and round. */
  readonly perRound: number;
  /** Pause between rounds; default none. */
  readonly everyMs?: number;
  readonly ends: readonly {
    readonly address: string;
    readonly port: number;
    /** Base64; with it forged initiations have a valid mac1. */
    readonly publicKey?: string;
  }[];
}

export interface AttackReport {
  readonly rounds: number;
  readonly sent: Readonly<Record<string, number>>;
  readonly refused: number;
  readonly captured: number;
  /** Cookie replies that came by. */
  readonly cookies: number;
}

export interface Attack {
  /** As of the last whole round. */
  report(): AttackReport;
  /** From now on true handshake messages are replayed, too. */
  replayHandshakes(): void;
  stop(): Promise<AttackReport>;
}

/** Resolves after the first round. */
export async function startAttack(from: Namespace, plan: AttackPlan): Promise<Attack> {
  const child: Child = from.start({
    name: "attacker",
    command: process.execPath,
    args: [ATTACKER, JSON.stringify(plan)],
  });
  await child.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const report = (): AttackReport => {
    const lines = child.stdout().split("\n");
    // The last line may be half printed.
    const last = lines.at(-2) ?? "";
    return JSON.parse(last) as AttackReport;
  };
  return {
    report,
    replayHandshakes: () => child.signal("SIGUSR2"),
    async stop() {
      await child.stop();
      if (child.stderr() !== "") throw new Error(child.stderr());
      return report();
    },
  };
}
