import { describe, it } from "vitest";
import { idleFor } from "./idle-budget.ts";

describe("an idle hour", () => {
  it.each(["port-restricted", "symmetric"] as const)(
    "TS-80, TS-58: behind NATs that forget after 30 s sends what the rules allow, and stands (%s)",
    { timeout: 60_000 },
    (nat) => idleFor(nat, 1),
  );
});
