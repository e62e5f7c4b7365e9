/** As `idle-quiet.long.test.ts`, for longer, and after work: what was allocated under load must not stay (G-13, G-14). */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import {
  echo,
  eventually,
  IDLE_PERCENT_MAX,
  RESIDENT_MIB_MAX,
  residentMib,
  untilIdle,
  usageWhileQuiet,
} from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { startQuietOffice } from "../lib/quiet-office.ts";
import { describeWith } from "../lib/requirements.ts";

const WINDOW_MS = 120_000;
const LOAD_S = 20;

describeWith(
  ["netns", "tun", "nft", "ipv6", "iperf3", "build"],
  "an idle client and gateway, at length",
  () => {
    let office: Office;
    let programs: readonly Child[];

    beforeAll(async () => {
      ({ office, programs } = await startQuietOffice());
      const server = office.resource.start({
        name: "iperf3",
        command: "iperf3",
        args: ["-s", "--forceflush"],
      });
      await server.waitForLine(/Server listening/, { withinMs: 10_000 });
    });
    afterAll(() => office?.close());

    async function expectQuiet(): Promise<void> {
      for (const program of programs) await untilIdle(program);
      const percent = await usageWhileQuiet(programs, WINDOW_MS);
      const memory = programs.map((program) => Math.round(residentMib(program)));
      console.log(`idle: ${percent.toFixed(2)} % of a core, ${memory.join(" and ")} MiB resident`);
      expect(percent).toBeLessThan(IDLE_PERCENT_MAX);
      for (const mib of memory) expect(mib).toBeLessThan(RESIDENT_MIB_MAX);
    }

    it("G-13, G-14: before any traffic but one echo", async () => {
      expect(await echo(office.client, OFFICE_V4)).toBe("answered");
      await expectQuiet();
    });

    it("G-13, G-14: after a full stream each way; while it runs, memory keeps its limit too", async () => {
      for (const direction of [[], ["-R"]]) {
        const args = ["-c", OFFICE_V4, "-t", String(LOAD_S), ...direction];
        await office.client.run("iperf3", args, { withinMs: (LOAD_S + 20) * 1000 });
        for (const program of programs) expect(residentMib(program)).toBeLessThan(RESIDENT_MIB_MAX);
      }
      await expectQuiet();
    });

    it("SN-79: an answer after the quiet is not late", async () => {
      await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 2000);
    });
  },
);
