/**
 * The programs under the runtimes that are not Node (PG-134, D-28). `npm run test:runtimes` runs many more tests with
 * the programs in each.
 */
import { expect, it } from "vitest";
import { createLab } from "../../src/program/lab/index.ts";
import { MAIN } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";
import { runToEnd } from "../lib/run-to-end.ts";
import { startWordsOf } from "../lib/runtimes.ts";
import { startWgPair } from "../lib/wg-ends.ts";

const WITHIN_MS = 80_000;

for (const name of ["deno", "bun"] as const) {
  describeWith(
    ["netns", "tun", "build", "root", "wg", "iperf3", "openssl", name],
    `the programs under ${name}`,
    () => {
      it("PG-134, PG-143: postern wg at both ends carries, names its runtime, and ends without a word", async () => {
        const lab = createLab();
        try {
          const { near, far, program } = await startWgPair(lab, [...startWordsOf(name), MAIN]);
          const args = ["-c", "3", "-i", "0.1", "-w", "10", far.inner];
          expect(await near.namespace.run("ping", args, { withinMs: 15_000 })).toContain("3 received");
          expect(program.stderr()).toMatch(new RegExp(`starting .*runtime="${name} \\d+\\.\\d+\\.\\d+"`));
          expect(await program.stop()).toMatchObject({ status: 0 });
          expect(program.stderr()).not.toMatch(/error|exception/i);
        } finally {
          await lab.close();
        }
      }, 90_000);

      it("D-28: portal, relay, gateway and client work together: the demo", async () => {
        const [command, ...words] = startWordsOf(name);
        const { status, output, errors } = await runToEnd(
          command,
          [...words, MAIN, "demo", "--json", "--seconds", "1"],
          WITHIN_MS,
        );
        expect(status, errors).toBe(0);
        expect(JSON.parse(output)).toMatchObject({ v: 1, ok: true, path: "direct" });
      }, 90_000);
    },
  );
}
