/** All packets of a machine, in a file that a test reads. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Namespace } from "../../src/program/lab/index.ts";

const CAPTURE = join(import.meta.dirname, "../../scripts/capture.mjs");

export interface Capture {
  /** Everything so far, as in the file. */
  bytes(): Buffer;
}

/** Resolves when it captures; it ends with the lab. */
export async function startCapture(where: Namespace): Promise<Capture> {
  const file = join(where.runFolder, "all.pcap");
  const child = where.start({ name: "capture", command: process.execPath, args: [CAPTURE, file] });
  await child.waitForLine(/^capturing$/, { withinMs: 10_000 });
  return { bytes: () => readFileSync(file) };
}
