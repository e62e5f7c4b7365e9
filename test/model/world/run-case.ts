/** Runs a case: drawn from a seed, or the steps of one that failed (TN-94, TN-95). */
import { ADMINISTRATION } from "./administration.ts";
import { type Case, Violation } from "./case.ts";
import { CUTS } from "./cuts.ts";
import { DNS } from "./dns.ts";
import { type Draw, drawFrom, drawFromNumbers } from "./draw.ts";
import { exercise } from "./held.ts";
import { HURRY } from "./hurry.ts";
import { checkEnd, checkInvariants } from "./invariants.ts";
import { NAMES } from "./names.ts";
import { OUTAGES } from "./outages.ts";
import { QUESTIONS } from "./questions.ts";
import { ROGUE } from "./rogue.ts";
import { DOMAINS, drawSetup, type Setup } from "./setup.ts";
import { type Fault, openStage, tellResolver } from "./stage.ts";
import { recover, resolve, TRAFFIC } from "./traffic.ts";
import { type Step, settle, type Transition } from "./transition.ts";

export const TRANSITIONS: readonly Transition[] = [
  ...TRAFFIC,
  ...ADMINISTRATION,
  ...OUTAGES,
  ...CUTS,
  ...HURRY,
  ...NAMES,
  ...DNS,
  ...QUESTIONS,
  ...ROGUE,
];

export interface Outcome {
  readonly seed: number;
  /** Those that were taken, in order. */
  readonly steps: readonly Step[];
  /** One line each. */
  readonly lines: readonly string[];
  readonly labels: ReadonlySet<string>;
  readonly traceHash: string;
  /** What the reference does not allow; absent: nothing. */
  readonly failure?: string;
  readonly trace: string;
}

const STEPS_MIN = 5;
const STEPS_SPAN = 11;
const NUMBERS = 8;
const NUMBER_MAX = 65_536;

export interface CaseOptions {
  /** Default: 5 to 15, drawn (TS-15). */
  readonly count?: number;
  readonly fault?: Fault;
  /** Default: drawn from the seed. */
  readonly setup?: Setup;
  /** Default: all. */
  readonly transitions?: readonly Transition[];
}

/** Draws steps among those that are possible when their turn comes. */
export function runSeed(seed: number, options: CaseOptions = {}): Outcome {
  const draw = drawFrom(seed, "steps");
  const drawn = STEPS_MIN + draw.below(STEPS_SPAN);
  const { count = drawn, transitions = TRANSITIONS } = options;
  return run(seed, options, function* (c) {
    for (let i = 0; i < count; i++) yield drawStep(c, draw, transitions);
  });
}

/** Takes the steps that are still possible. */
export function runSteps(seed: number, steps: readonly Step[], options: CaseOptions = {}): Outcome {
  return run(seed, options, () => steps);
}

function drawStep(c: Case, draw: Draw, transitions: readonly Transition[]): Step {
  const possible = transitions.filter(({ candidates }) => candidates(c).length > 0);
  let at = draw.below(possible.reduce((sum, { weight }) => sum + weight, 0));
  const chosen = possible.find(({ weight }) => {
    at -= weight;
    return at < 0;
  });
  const numbers = Array.from({ length: NUMBERS }, () => draw.below(NUMBER_MAX));
  return { kind: chosen?.name ?? "", numbers };
}

function run(seed: number, options: CaseOptions, stepsOf: (c: Case) => Iterable<Step>): Outcome {
  const { fault = {}, setup = drawSetup(seed) } = options;
  const c: Case = {
    ...openStage(setup, fault),
    lines: [],
    labels: new Set(),
    held: [],
    judged: 0,
    probes: 0,
    late: new Map(),
    shaken: new Set(),
  };
  const taken: Step[] = [];
  const failure = failureOf(() => {
    for (const { gateways } of c.setup.sites) for (const { name } of gateways) c.sites.begin(name);
    for (const { name } of c.setup.clients) tellResolver(c, name);
    settle(c);
    for (const { name } of c.setup.clients) {
      for (const domain of DOMAINS.slice(0, c.setup.seed % 4)) resolve(c, name, domain, 4);
    }
    checkInvariants(c);
    for (const step of stepsOf(c)) if (take(c, step, () => taken.push(step))) checkAll(c);
    checkEnd(c);
  });
  return {
    ...{ seed, steps: taken, lines: c.lines, labels: c.labels },
    traceHash: c.play.world.traceHash(),
    trace: c.play.world.recentTrace(),
    ...(failure !== undefined && { failure }),
  };
}

function checkAll(c: Case): void {
  if (c.shaken.size > 0 && c.reference.cuts.size === 0 && c.lines.length % 2 === 0) recover(c);
  exercise(c);
  checkInvariants(c);
}

/** @returns whether the step was possible */
function take(c: Case, step: Step, note: () => void): boolean {
  const transition = TRANSITIONS.find(({ name }) => name === step.kind);
  const candidates = transition?.candidates(c) ?? [];
  if (transition === undefined || candidates.length === 0) return false;
  const draw = drawFromNumbers(step.numbers);
  const about = draw.of(candidates);
  note();
  c.lines.push(`${transition.name} ${about}`.trim());
  c.labels.add(`step: ${transition.name}`);
  transition.run(c, about, draw);
  return true;
}

function failureOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}
