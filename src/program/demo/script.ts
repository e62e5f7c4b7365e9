/** What happens to the demo after its measurements, by `--script` or by key (PG-86): the steps and their order. */

import { existsSync, readFileSync } from "node:fs";
import { malformed, type Parsed, PosternError, parsed } from "../../base/index.ts";

/** The client moves to the other network; the relay is killed; it comes back. */
export const STEPS = ["roam", "kill-relay", "start-relay"] as const;
export type Step = (typeof STEPS)[number];

export const KEYS: Readonly<Record<string, Step>> = { r: "roam", k: "kill-relay", s: "start-relay" };

const STEPS_MAX = 100;

/**
 * The steps of `--script`: a file, or the steps themselves.
 *
 * @throws PosternError `usage`
 */
export function readScript(value: string): readonly Step[] {
  const steps = parseScript(existsSync(value) ? readFileSync(value, "utf8") : value);
  if (steps.ok) return steps.value;
  throw new PosternError("usage", `--script ${value} ${steps.reason}`);
}

/**
 * A script's steps: separated by commas or blanks, or one a line; what follows a `#` is a comment.
 *
 * @returns the reason where a word is no step, or a step makes no sense where it stands
 */
export function parseScript(text: string): Parsed<readonly Step[]> {
  const words = text
    .replace(/#.*$/gm, "")
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  if (words.length === 0) return malformed("has no step");
  if (words.length > STEPS_MAX) return malformed(`has more than ${STEPS_MAX} steps`);
  const steps: Step[] = [];
  let hasRelay = true;
  for (const word of words) {
    const step = STEPS.find((one) => one === word);
    if (step === undefined) return malformed(`has '${word}', which is none of ${STEPS.join(", ")}`);
    const obstacle = obstacleTo(step, hasRelay);
    if (obstacle !== undefined) return malformed(`has '${step}' where ${obstacle}`);
    hasRelay = relayAfter(step, hasRelay);
    steps.push(step);
  }
  return parsed(steps);
}

/** Why a step makes no sense now; `undefined`: it does. */
export function obstacleTo(step: Step, hasRelay: boolean): string | undefined {
  if (step === "start-relay") return hasRelay ? "the relay runs" : undefined;
  if (hasRelay) return undefined;
  return step === "roam"
    ? "the relay is dead: nobody would tell the client its new address"
    : "the relay is dead";
}

export function relayAfter(step: Step, hasRelay: boolean): boolean {
  return step === "roam" ? hasRelay : step === "start-relay";
}
