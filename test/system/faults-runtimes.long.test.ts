/** System calls of real workers that fail, under the runtimes that are not Node (TS-64, PG-14, PG-18). */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { createLab, type Lab } from "../../src/program/lab/index.ts";
import { buildWith, type ChangedBuild } from "../lib/changed-build.ts";
import { describeWith } from "../lib/requirements.ts";
import { type StartWords, startWordsOf } from "../lib/runtimes.ts";
import { startWgPair } from "../lib/wg-ends.ts";
import { wgSnapshot } from "../lib/wg-snapshot.ts";

const PINGS = 24;
const WITHIN_MS = 30_000;
const timeout = 90_000;

for (const name of ["deno", "bun"] as const) {
  describeWith(["netns", "tun", "build", "root", "wg", name], `system calls that fail under ${name}`, () => {
    let faulty: ChangedBuild;
    let lab: Lab;
    beforeAll(() => {
      faulty = buildWith("worker", "faulty-library.mjs");
    });
    afterEach(() => lab?.close());
    afterAll(() => faulty?.remove());

    const startFaulty = (faults: string) => {
      lab = createLab();
      const words: StartWords = ["env", `POSTERN_TEST_FAULTS=${faults}`, ...startWordsOf(name), faulty.main];
      return startWgPair(lab, words);
    };

    it("TS-64, PG-46: every third send is refused: it is counted under its reason, the others arrive", {
      timeout,
    }, async () => {
      const { near, far, program } = await startFaulty("sendmsg:3+3:1");
      const args = ["-q", "-c", `${PINGS}`, "-i", "0.1", "-W", "1", far.inner];
      const said = await near.namespace.run("ping", args, { withinMs: WITHIN_MS });
      const received = Number(/(\d+) received/.exec(said)?.[1]);
      expect(received).toBeGreaterThan(0);
      expect(received).toBeLessThan(PINGS);
      const { egress } = (await wgSnapshot(program)).counters;
      expect(egress.drops["udp_send_blocked"]).toBeGreaterThan(0);
      expect(await program.stop()).toMatchObject({ status: 0 });
    });

    it("TS-64, PG-18: a worker that dies in a system call: exit 70, and no device is left", {
      timeout,
    }, async () => {
      // Each packet takes at least one read.
      const { near, far, program } = await startFaulty("read:12:0");
      const args = ["-q", "-c", `${PINGS}`, "-i", "0.1", "-W", "1", far.inner];
      near.namespace.start({ name: "ping", command: "ping", args });
      expect(await program.wait(WITHIN_MS)).toMatchObject({ status: 70 });
      expect(program.stderr()).toMatch(/^postern: the egress worker died/m);
      // One line (PG-14), and no stack of the runtime's.
      expect(program.stderr()).not.toMatch(/^\s+at |uncaught/im);
      expect(await near.namespace.run("ip", ["-o", "link"])).not.toContain("wg0");
    });
  });
}
