/** The demo's last part: traffic goes on while the client moves and the relay dies and returns (PG-86). */

import type { Lab } from "../lab/index.ts";
import { KEYS, obstacleTo, relayAfter, type Step } from "./script.ts";
import { type Machines, moveClient, type Obstacle } from "./topology.ts";
import { startTraffic, type Traffic } from "./traffic.ts";

/** What moves is served again by then: finding paths anew has bounds of its own (SN-92, SN-97). */
const AGAIN_WITHIN_MS = 30_000;
/** So long after a change that does not concern the traffic it is watched. */
const UNCONCERNED_MS = 1_000;
/** A second without an answer is a standstill; fifty requests have been sent. */
const STANDSTILL_MS = 1_000;
const STANDSTILL_WITHIN_MS = 10_000;
/** Whoever shows the demo has so long for the next key. */
const KEY_WITHIN_MS = 60_000;
/** The keys that end it. */
const ENDS = ["q", "\r", "\n", "\u001b"];

const CTRL_C = "\u0003";

export type Keyboard = Pick<
  NodeJS.ReadStream,
  "setEncoding" | "on" | "off" | "pause" | "resume" | "setRawMode"
>;

/** One step as `--json` has it. */
export interface StepResult {
  readonly step: Step;
  readonly ok: boolean;
  /** The longest time without an answer; after `kill-relay` where only the relay carries: until the last answer. */
  readonly ms: number;
  /** Nothing carries the traffic now. */
  readonly isStopped: boolean;
}

/** What the steps need of the demo. */
export interface Scene {
  readonly lab: Lab;
  readonly machines: Machines;
  readonly obstacle: Obstacle;
  readonly say: (text: string) => void;
  killRelay(): Promise<void>;
  /** Resolves when the portal knows it. */
  startRelay(): Promise<void>;
  /** Waits until data goes the way that it went before. */
  checkPath(): Promise<void>;
}

interface Changing {
  readonly scene: Scene;
  readonly traffic: Traffic;
  readonly results: StepResult[];
  hasRelay: boolean;
  isAtHome: boolean;
}

/** Does all steps in turn; the first that misses its bound ends it. */
export async function playSteps(scene: Scene, steps: readonly Step[], results: StepResult[]): Promise<void> {
  const changing = begin(scene, results);
  for (const step of steps) await doStep(changing, step);
  await changing.traffic.stop();
}

/** Does what the keys say until one ends it, or none came for a minute. */
export async function playKeys(scene: Scene, keyboard: Keyboard, results: StepResult[]): Promise<void> {
  const pressed: string[] = [];
  let wake = (): void => undefined;
  const stopListening = listen(keyboard, (key) => {
    pressed.push(key);
    wake();
  });
  scene.say("");
  scene.say(
    "Press r: the client moves to another network; k: the relay is killed; s: it is started again; q: end.",
  );
  const changing = begin(scene, results);
  for (;;) {
    if (pressed.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, KEY_WITHIN_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const key = pressed.shift();
    if (key === undefined || ENDS.includes(key)) break;
    const step = KEYS[key];
    if (step === undefined) continue;
    const obstacle = obstacleTo(step, changing.hasRelay);
    if (obstacle === undefined) await doStep(changing, step);
    else scene.say(`Not now: ${obstacle}.`);
  }
  stopListening();
  await changing.traffic.stop();
}

/** Without an echo, key by key. @returns what gives the terminal back */
function listen(keyboard: Keyboard, onKey: (key: string) => void): () => void {
  const take = (chunk: string): void => {
    for (const key of chunk) {
      // A terminal that hands out keys sends no signal by itself.
      if (key === CTRL_C) process.kill(process.pid, "SIGINT");
      else onKey(key);
    }
  };
  const giveBack = (): void => void keyboard.setRawMode(false);
  keyboard.setEncoding("utf8");
  keyboard.setRawMode(true);
  process.once("exit", giveBack);
  keyboard.on("data", take);
  keyboard.resume();
  return () => {
    process.off("exit", giveBack);
    giveBack();
    keyboard.off("data", take);
    keyboard.pause();
  };
}

function begin(scene: Scene, results: StepResult[]): Changing {
  const traffic = startTraffic(scene.machines.client);
  return { scene, traffic, results, hasRelay: true, isAtHome: true };
}

async function doStep(changing: Changing, step: Step): Promise<void> {
  const { results, hasRelay } = changing;
  await changing.traffic.untilAnswered(hasRelay ? performance.now() : 0, AGAIN_WITHIN_MS);
  const index = results.push({ step, ok: false, ms: 0, isStopped: false }) - 1;
  const { ms, isStopped } = await PLAYERS[step](changing);
  results[index] = { step, ok: true, ms: Math.round(ms), isStopped };
  changing.hasRelay = relayAfter(step, hasRelay);
}

type Player = (changing: Changing) => Promise<Pick<StepResult, "ms" | "isStopped">>;

const PLAYERS: Readonly<Record<Step, Player>> = {
  async roam(changing) {
    const { scene, traffic } = changing;
    const begun = performance.now();
    changing.isAtHome = !changing.isAtHome;
    const movedAt = await moveClient(scene, changing.isAtHome);
    await traffic.untilAnswered(movedAt, AGAIN_WITHIN_MS);
    const ms = traffic.longestPauseMs(begun);
    const where = changing.isAtHome ? "back home" : "to a café, with another address behind another router";
    scene.say(`The client moved ${where}: traffic stood still for ${Math.round(ms)} ms.`);
    await scene.checkPath();
    return { ms, isStopped: false };
  },
  async "kill-relay"({ scene, traffic }) {
    const begun = performance.now();
    await scene.killRelay();
    if (scene.obstacle !== "none") {
      const last = await traffic.untilQuiet(STANDSTILL_MS, STANDSTILL_WITHIN_MS);
      const ms = Math.max(0, last - begun);
      scene.say(
        `The relay was killed, and nothing else can carry: the last answer came after ${Math.round(ms)} ms.`,
      );
      return { ms, isStopped: true };
    }
    await traffic.untilAnswered(begun + UNCONCERNED_MS, AGAIN_WITHIN_MS);
    const ms = traffic.longestPauseMs(begun);
    scene.say(`The relay was killed; no data goes through it: the longest pause was ${Math.round(ms)} ms.`);
    return { ms, isStopped: false };
  },
  async "start-relay"({ scene, traffic }) {
    const begun = performance.now();
    await scene.startRelay();
    const startedAt = performance.now();
    const isNeeded = scene.obstacle !== "none";
    await traffic.untilAnswered(isNeeded ? begun : startedAt + UNCONCERNED_MS, AGAIN_WITHIN_MS);
    const ms = isNeeded ? performance.now() - begun : traffic.longestPauseMs(begun);
    scene.say(
      isNeeded
        ? `The relay is back: the first answer came ${Math.round(ms)} ms after its start.`
        : `The relay is back, in ${Math.round(startedAt - begun)} ms: the longest pause was ${Math.round(ms)} ms.`,
    );
    if (isNeeded) await scene.checkPath();
    return { ms, isStopped: false };
  },
};
