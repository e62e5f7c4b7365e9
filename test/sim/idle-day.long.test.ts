import { it } from "vitest";
import { idleFor } from "./idle-budget.ts";

it.each(["port-restricted", "symmetric"] as const)(
  "TS-80: 24 idle hours behind NATs that forget after 30 s send what the rules allow (%s)",
  { timeout: 1_800_000 },
  (nat) => idleFor(nat, 24),
);
