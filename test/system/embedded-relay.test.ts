/** `startRelay` in all three runtimes, as one program uses it (PG-120): `test/lib/relay-probe.mjs`. */
import { createSocket } from "node:dgram";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Portal, startPortal } from "../../src/index.ts";
import { describeWith, type Requirement } from "../lib/requirements.ts";
import { type Ended, runToEnd } from "../lib/run-to-end.ts";
import { startWordsOf } from "../lib/runtimes.ts";

const BINDING_SUCCESS = 0x0101;
const WITHIN_MS = 45_000;
const RUNTIMES: readonly {
  readonly name: "node" | "deno" | "bun";
  readonly needs: readonly Requirement[];
}[] = [
  { name: "node", needs: [] },
  { name: "deno", needs: ["deno"] },
  { name: "bun", needs: ["bun"] },
];

let portal: Portal;
beforeAll(async () => {
  portal = await startPortal({ dev: true, listen: "127.0.0.1:0" });
});
afterAll(() => portal?.close());

function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  return new Promise((resolve) => {
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

async function run(name: "node" | "deno" | "bun"): Promise<Ended> {
  const [program, ...words] = startWordsOf(name);
  const args = [...words, "test/lib/relay-probe.mjs", String(await freePort())];
  const { apiUrl = "", tokens } = portal;
  return await runToEnd(program, args, WITHIN_MS, { API_URL: apiUrl, TOKEN: tokens?.relay ?? "" });
}

for (const { name, needs } of RUNTIMES) {
  describeWith(["build", ...needs], `a relay in a program under ${name}`, () => {
    it("PG-120: joins the portal or stands alone, answers, closes, and nothing keeps the process alive", async () => {
      const { status, output, errors } = await run(name);
      expect(status, errors).toBe(0);
      const served = {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        answer: { type: BINDING_SUCCESS, isOurs: true },
        ready: true,
        closed: "closed",
      };
      expect(JSON.parse(output)).toEqual({
        joined: served,
        alone: served,
        half: "host usage",
        nowhere: "host usage",
      });
    });
  });
}
