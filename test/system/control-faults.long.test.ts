/**
 * Each single system call of the control thread, from its start to its end, fails once for want of something (TS-64):
 * the program is ready all the same, or says in one line why it is not; the host is as before in either case.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import {
  createFaultyPrograms,
  type FaultyPrograms,
  type HostState,
  lastWords,
  ROLES,
  type Role,
  struck,
} from "../lib/faulty-programs.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 30_000;
/** A start and an end take half a second; there are some hundred calls. */
const timeout = 30 * 60_000;
/** None of them. */
const NEVER = "call:999999:1";
/** Of all calls from one on; each so many calls there is a run. */
const STRIDE = 9;
const CLEAN = [0, 5, 8];
/** Where nothing works any more a stop may take too long (PG-15). */
const ANYHOW = [...CLEAN, 1];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "each call of control", () => {
  let programs: FaultyPrograms;
  beforeAll(async () => {
    programs = await createFaultyPrograms();
    programs.office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await programs.office.startPortal();
  });
  afterAll(() => programs?.close());

  async function run(role: Role, faults: string): Promise<{ program: Child; status: number | undefined }> {
    const program = programs.start(role, faults, ...(role === "wg" ? [] : ["--exit"]));
    if (role === "wg") {
      // It has no `--exit`, and may end before it is ready.
      const ready = program.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
      await ready.then(() => program.signal("SIGTERM")).catch(() => {});
    }
    const { status } = await program.wait(WITHIN_MS);
    return { program, status };
  }

  async function countCalls(role: Role): Promise<number> {
    const { program, status } = await run(role, NEVER);
    expect(status, program.stderr()).toBe(0);
    return Number(/^calls: (\d+)$/m.exec(program.stderr())?.[1]);
  }

  function expectSaid(program: Child, status: number | undefined, where: string): void {
    if (status !== 0) expect(lastWords(program), where).toEqual([expect.stringMatching(/^postern: \S/)]);
    expect(program.stderr(), where).not.toMatch(/\n\s+at /);
  }

  it.each(ROLES)("TS-64, PG-9, PG-14: %s: one that fails once", { timeout }, async (role) => {
    const untouched: HostState = await programs.stateOf(role);
    const count = await countCalls(role);
    expect(count).toBeGreaterThan(10);
    let refused = 0;
    for (let nth = 1; nth <= count; nth++) {
      const { program, status } = await run(role, `call:${nth}:999`);
      const where = `${struck(program)}, call ${nth} of ${count}: ${status}\n${program.stderr()}`;
      expect(CLEAN, where).toContain(status);
      expectSaid(program, status, where);
      expect(await programs.stateOf(role), where).toEqual(untouched);
      if (status !== 0) refused++;
    }
    expect(refused).toBeLessThan(count);
  });

  it.each(ROLES)("TS-64, PG-14, PG-15: %s: all that follow fail", { timeout }, async (role) => {
    const count = await countCalls(role);
    for (let nth = 1; nth <= count; nth += STRIDE) {
      const { program, status } = await run(role, `call:${nth}+1:999`);
      const where = `from call ${nth} of ${count} on: ${status}\n${program.stderr()}`;
      expect(ANYHOW, where).toContain(status);
      expectSaid(program, status, where);
      // Rules may have stayed behind: the next start removes them (D-22).
      await countCalls(role);
    }
  });
});
