/**
 * A reporter of vitest that ends files of tests which hang (TS-82). Vitest's own limits need the file's event loop: a
 * loop without end, a call that blocks or an import that never ends would hold the whole run for ever.
 *
 * Each file has a process of its own; the file that has run for longest has the oldest one. What is known of it is
 * printed, and the process is killed: the file counts as failed, and the others run on.
 */
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { patient } from "../src/program/lab/patience.ts";

/** The longest files take a minute on a quiet machine; on a busy one all have longer (TS-3). */
const LIMIT_MS = 6 * 60_000;
const LOOK_MS = 5_000;
/** Where Node listens after SIGUSR1. */
const DEBUGGER = "http://127.0.0.1:9229";
const DEBUGGER_TRIES = 30;
const ANSWER_MS = 3_000;

// biome-ignore lint/style/noDefaultExport: it is what vitest takes from the path of a reporter
export default class {
  /** By id of the file: path, start in ms, and the test that was heard of last: a busy process says nothing more. */
  #running = new Map();
  #limitMs;
  #timer;
  /** Two files may hang at once; Node's debugger has one port, and the oldest process is the one that is killed first. */
  #isLooking = false;

  constructor({ limitMs = LIMIT_MS } = {}) {
    this.#limitMs = limitMs;
  }

  onTestRunStart() {
    this.#timer = setInterval(() => void this.#lookOnce(), Math.min(LOOK_MS, this.#limitMs));
    this.#timer.unref();
  }

  onTestModuleQueued(file) {
    this.#running.set(file.id, { path: file.relativeModuleId, since: Date.now(), test: undefined });
  }

  onTestCaseReady(test) {
    const file = this.#running.get(test.module.id);
    if (file !== undefined) file.test = test.fullName;
  }

  onTestModuleEnd(file) {
    this.#running.delete(file.id);
  }

  onTestRunEnd() {
    clearInterval(this.#timer);
  }

  async #lookOnce() {
    if (this.#isLooking) return;
    this.#isLooking = true;
    await this.#look().finally(() => {
      this.#isLooking = false;
    });
  }

  async #look() {
    const [oldest] = [...this.#running].sort(([, a], [, b]) => a.since - b.since);
    if (oldest === undefined || Date.now() - oldest[1].since < patient(this.#limitMs)) return;
    const [id, { path, test }] = oldest;
    this.#running.delete(id);
    const [pid] = childrenOf(process.pid).filter(isWorker);
    console.error(`HANGS ${path}: ${test ?? "in its first test or before"} (process ${pid ?? "unknown"})`);
    if (pid === undefined) return;
    for (const child of childrenOf(pid)) console.error(`  has started: ${commandOf(child)}`);
    for (const line of await stackOf(pid)) console.error(`  ${line}`);
    signal(pid, "SIGKILL");
  }
}

/** Where the JavaScript of a process stands, asked of its debugger: it answers beside a loop, too. */
async function stackOf(pid) {
  signal(pid, "SIGUSR1");
  try {
    const response = await untilAnswered(() => fetch(`${DEBUGGER}/json/list`));
    const [{ webSocketDebuggerUrl }] = await response.json();
    return await pausedAt(webSocketDebuggerUrl);
  } catch (error) {
    return [`does not say where it stands: ${error.message}`];
  }
}

/** The debugger takes a moment to listen. */
async function untilAnswered(ask) {
  for (let tries = 0; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (tries === DEBUGGER_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function pausedAt(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { handshakeTimeout: ANSWER_MS });
    setTimeout(() => reject(new Error("it runs no JavaScript")), ANSWER_MS).unref();
    socket.on("error", reject);
    socket.on("open", () => {
      for (const [id, method] of ["Debugger.enable", "Debugger.pause"].entries())
        socket.send(JSON.stringify({ id, method }));
    });
    socket.on("message", (text) => {
      const { method, params } = JSON.parse(text);
      if (method !== "Debugger.paused") return;
      resolve(
        params.callFrames.map(
          ({ functionName, url, location }) => `at ${functionName} ${url}:${location.lineNumber + 1}`,
        ),
      );
    });
  });
}

/** @returns process ids, the oldest first */
function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter((word) => word !== "");
}

const isWorker = (pid) => commandOf(pid).includes("vitest/dist/workers/");

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

function signal(pid, name) {
  try {
    process.kill(Number(pid), name);
  } catch {
    // It has ended meanwhile.
  }
}
