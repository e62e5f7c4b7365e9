/**
 * Loaded before a program: a wall clock that a test sets. The milliseconds in the file
 * POSTERN_TEST_CLOCK are added to it. The system's own clock is everybody's.
 */
import { readFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

const file = process.env.POSTERN_TEST_CLOCK;
const now = Date.now;
let stepMs = 0;

function look() {
  try {
    stepMs = Number(readFileSync(file, "utf8"));
  } catch {
    // Not set yet.
  }
}

if (file !== undefined && isMainThread) {
  setInterval(look, 50).unref();
  Date.now = () => now() + stepMs;
}
