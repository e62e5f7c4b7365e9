/** The routers that other tests rely on, measured (TS-29). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { createInternet, type Internet } from "../lib/internet.ts";
import { NAT_KINDS, type Nat, type NatKind, SHORT_EXPIRY } from "../lib/nat.ts";
import { describeWith } from "../lib/requirements.ts";

const PROBE = join(import.meta.dirname, "../lib/nat-probe.mjs");
const [A, B] = ["203.0.113.10", "203.0.113.11"];
const WITHIN_MS = 20_000;

describeWith(["root", "netns", "nft"], "routers", () => {
  let lab: Lab;
  let internet: Internet;
  let nextSite = 30;

  beforeAll(async () => {
    lab = createLab();
    internet = await createInternet(lab);
    for (const [role, last, own, other] of [
      ["reflector-a", 10, A, B],
      ["reflector-b", 11, B, A],
    ] as const) {
      const host = await internet.addPublic(role, last);
      const child = host.start({
        name: "reflect",
        command: process.execPath,
        args: [PROBE, "reflect", own, other],
      });
      await child.waitForLine(/^reflecting$/, { withinMs: WITHIN_MS });
    }
  }, WITHIN_MS);

  afterAll(() => lab.close());

  const hostBehind = async (nat: Nat): Promise<Namespace> => {
    const last = nextSite++;
    const site = await internet.addSite(`site${last}`, last, nat);
    return site.addHost(`host${last}`, 100);
  };
  const measure = async (host: Namespace): Promise<unknown> =>
    JSON.parse(await host.run(process.execPath, [PROBE, "probe", A, B], { withinMs: WITHIN_MS }));

  for (const kind of Object.keys(NAT_KINDS) as NatKind[]) {
    it(`TS-27, TS-29: ${kind} is what it claims to be`, async () => {
      expect(await measure(await hostBehind({ kind }))).toEqual(NAT_KINDS[kind]);
    });
  }

  it("TS-27: a router that blocks UDP lets none out, and TCP through", async () => {
    const host = await hostBehind({ kind: "port-restricted", blocks: "udp" });
    await expect(measure(host)).rejects.toThrow(/no answer/);
    await expect(connects(host, A)).resolves.toMatch(/refused/);
  });

  it("TS-27: a router that blocks all but one port says nothing about the others", async () => {
    const host = await hostBehind({ kind: "port-restricted", blocks: { allBut: [443] } });
    await expect(connects(host, A, 443)).resolves.toMatch(/refused/);
    await expect(connects(host, A, 80)).resolves.toMatch(/nothing/);
  });

  it("TS-27: a short mapping is kept at 2 s and gone after 7", async () => {
    const host = await hostBehind({ kind: "port-restricted", expiry: SHORT_EXPIRY });
    const said = await host.run(process.execPath, [PROBE, "expiry", A, "2000", "7000"], {
      withinMs: WITHIN_MS,
    });
    expect(JSON.parse(said)).toEqual({ 2000: "kept", 7000: "gone" });
  });
});

/** What becomes of a TCP connection to a host that listens nowhere. */
async function connects(host: Namespace, address: string, port = 80): Promise<string> {
  const script = `
    const socket = require("node:net").connect({ host: "${address}", port: ${port} });
    socket.on("error", (error) => { console.log(error.code === "ECONNREFUSED" ? "refused" : error.code); process.exit(0); });
    setTimeout(() => { console.log("nothing"); process.exit(0); }, 1000);`;
  return host.run(process.execPath, ["-e", script], { withinMs: WITHIN_MS });
}
