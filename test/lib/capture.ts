/** All packets of a machine, in a file that a test reads. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";

const CAPTURE = join(import.meta.dirname, "../../scripts/capture.mjs");

export interface Capture {
  /** Everything so far, as in the file. */
  bytes(): Buffer;
  /**
   * Resolves when it has come to a packet with that text. It lags behind what is sent: only then it is known that
   * something sent before has not been there.
   */
  hasComeTo(text: string): Promise<void>;
}

/** Resolves when it captures; it ends with the lab. */
export async function startCapture(where: Namespace): Promise<Capture> {
  const file = join(where.runFolder, "all.pcap");
  const child = where.start({ name: "capture", command: process.execPath, args: [CAPTURE, file] });
  await child.waitForLine(/^capturing$/, { withinMs: 10_000 });
  const bytes = (): Buffer => readFileSync(file);
  const hasComeTo = (text: string): Promise<void> =>
    eventually(() => expect(bytes().includes(text), text).toBe(true));
  return { bytes, hasComeTo };
}
