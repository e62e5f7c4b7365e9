import { it } from "vitest";

function turnForEver(): void {
  for (;;) Math.random();
}

it("never ends", turnForEver);
