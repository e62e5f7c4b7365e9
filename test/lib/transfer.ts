/** Carries data through a tunnel, from one namespace to another. */
import { join } from "node:path";
import type { Namespace } from "../../src/program/lab/index.ts";

const TRANSFER = join(import.meta.dirname, "transfer.mjs");
/** A flood or other tests may use the processors meanwhile. */
const WITHIN_MS = 30_000;

export interface Transfer {
  readonly protocol: "tcp" | "udp";
  readonly to: string;
  readonly bytes: number;
}

/** Sends pseudo-random data one way; returns what each end says about it: equal texts, nothing was lost. */
export async function transfer(
  from: Namespace,
  to: Namespace,
  { protocol, to: address, bytes }: Transfer,
): Promise<{ readonly sent: string; readonly received: string }> {
  const receiver = to.start({
    name: "receiver",
    command: process.execPath,
    args: [TRANSFER, "receive", protocol, address, String(bytes)],
  });
  await receiver.waitForLine(/^listening$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const sent = await from.run(process.execPath, [TRANSFER, "send", protocol, address, String(bytes)], {
    withinMs: WITHIN_MS,
  });
  const [, received = ""] = await receiver.waitForLine(/^received (.*)$/, {
    withinMs: WITHIN_MS,
    stream: "stdout",
  });
  await receiver.stop();
  return { sent: sent.trim().replace(/^sent /, ""), received };
}
