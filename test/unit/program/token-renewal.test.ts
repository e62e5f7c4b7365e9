/** A token that is refused, and the next one (PG-120). */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { instant, type Secret, secret } from "../../../src/base/index.ts";
import { createTokenRenewal, type TokenRenewal } from "../../../src/program/token-renewal.ts";

interface World {
  readonly renewal: TokenRenewal;
  /** What was asked, and what came of it. */
  readonly told: string[];
}

/** @param answers each an answer, an error, or nothing at all */
function worldWith(answers: (string | Error | undefined)[], maxPartitionMs?: number): World {
  const told: string[] = [];
  const renewal = createTokenRenewal({
    token: secret("first"),
    maxPartitionMs,
    now: () => instant(Date.now()),
    random: { fill: (bytes) => bytes.fill(0) },
    ask(refused: Secret<string>) {
      told.push(`asked instead of ${refused.reveal()}`);
      const answer = answers.shift();
      if (answer instanceof Error) return Promise.reject(answer);
      return answer === undefined ? new Promise(() => {}) : Promise.resolve(secret(answer));
    },
    onToken: () => told.push(`has ${renewal.token.reveal()}`),
    onHiccup: (error) => told.push(error.kind === "broken" ? error.detail : error.kind),
    onEnd: (failure) => told.push(failure instanceof Error ? `ends: ${failure.message}` : "ends"),
  });
  return { renewal, told };
}

const REFUSED = "the token was refused, another one is asked for";

describe("a refused token", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

  it("PG-120: is replaced by the one that is asked for, once for each refusal", async () => {
    const { renewal, told } = worldWith(["second"]);
    expect([renewal.refused(), renewal.refused()]).toEqual([true, true]);
    await settle();
    expect(told).toEqual([REFUSED, "asked instead of first", "has second"]);
    expect(renewal.isAsking).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("PG-120: is the end where the same comes again, whatever blanks are around it", async () => {
    const { renewal, told } = worldWith(["first\n"]);
    renewal.refused();
    await settle();
    expect(told.at(-1)).toBe("ends");
  });

  it("PG-120: three that were never taken are enough; one that was taken begins anew", async () => {
    const { renewal } = worldWith(["b", "c", "d", "e"]);
    for (let i = 0; i < 3; i++) {
      expect(renewal.refused()).toBe(true);
      await settle();
    }
    expect(renewal.refused()).toBe(false);
    renewal.accepted();
    expect(renewal.refused()).toBe(true);
    await settle();
    expect(renewal.token.reveal()).toBe("e");
  });

  it("PG-120: who cannot give the first one that is taken ends the start", async () => {
    const { renewal, told } = worldWith([new Error("signed out")]);
    renewal.refused();
    await settle();
    expect(told.at(-1)).toBe("ends: signed out");
  });

  it("PG-120: later on it is asked again after a pause, also where no answer comes within a minute", async () => {
    const { renewal, told } = worldWith([new Error("away"), undefined, "second"]);
    renewal.accepted();
    renewal.refused();
    await settle();
    expect(told.at(-1)).toBe("no new token: away");
    expect(renewal.isAsking).toBe(true);
    await vi.runOnlyPendingTimersAsync();
    await vi.advanceTimersByTimeAsync(59_999);
    expect(told.at(-1)).toBe("asked instead of first");
    await vi.advanceTimersByTimeAsync(1);
    expect(told.at(-1)).toBe("no new token: nobody gave a token within 60 s");
    await vi.runOnlyPendingTimersAsync();
    expect(told.at(-1)).toBe("has second");
  });

  it("PG-120: it is asked in vain as long as the portal may be away, and not a pause longer", async () => {
    const away = (): Error => new Error("away");
    const { renewal, told } = worldWith([away(), away(), away(), away()], 1_000);
    renewal.accepted();
    renewal.refused();
    await settle();
    const from = Date.now();
    while (told.at(-1) !== "ends: away") {
      expect(Date.now() - from).toBeLessThan(1_000);
      await vi.runOnlyPendingTimersAsync();
    }
    expect(Date.now() - from).toBeGreaterThanOrEqual(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("PG-120: what is given after the end changes nothing", async () => {
    const { renewal, told } = worldWith(["second"]);
    renewal.refused();
    renewal.stop();
    await settle();
    expect(told).toEqual([REFUSED, "asked instead of first"]);
    expect(renewal.token.reveal()).toBe("first");
    expect(renewal.refused()).toBe(false);
  });
});
