/** Names without addresses, and clients whose proxy addresses are the same (TN-46 to TN-48, TN-65). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ManyClients, startManyClients } from "../lib/many-clients.ts";
import { eventually, tunnelAddresses } from "../lib/observe.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const OFFICE = "office.lab.example";
const GONE = "gone.lab.example";
const timeout = 60_000;
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"] as const;

describeWith(NEEDS, "several clients with names", () => {
  let office: Office;
  let many: ManyClients;

  beforeAll(async () => {
    const records = [`${OFFICE}. 60 IN A ${OFFICE_V4}`];
    many = await startManyClients((made) => (office = made), 3, records);
  }, 120_000);
  afterAll(() => office?.close());

  /** How often the site was asked for a name. */
  const asked = (name: string): number =>
    many.names.site.asked().filter((question) => question.startsWith(`${name} `)).length;

  it("TN-65: clients with the same proxy address and port for other names never mix", {
    timeout,
  }, async () => {
    for (let round = 0; round < 3; round++) await many.fetchApart(round);
  });

  it("TN-48, seed 004: a name without addresses fails at once, and is asked at the site once, not for ever", {
    timeout,
  }, async () => {
    const look = async (name: string) => (await many.names.run("dig", "+short", name, "A")).stdout;
    const proxy = /^[\d.]+/m.exec(await look(GONE))?.[0] ?? "";
    const resolved = ["--resolve", `${GONE}:80:${proxy}`] as const;
    const knock = () =>
      many.names.run("curl", "-s", "-m", "20", "-w", "%{errormsg}", ...resolved, `http://${GONE}/`);
    expect(await knock()).toMatchObject({ status: 7, stdout: expect.not.stringMatching(/timed? ?out/i) });
    const before = asked(GONE);
    expect(before, "A and AAAA").toBe(2);
    // Longer than a set-up waits for its answer (2 s), and than the gateway remembers that there is none (DN-89).
    const begun = performance.now();
    while (performance.now() - begun < 6000) {
      await look(OFFICE);
      expect(await knock()).toMatchObject({ status: 7 });
    }
    expect(asked(GONE)).toBe(before);
    // Its own query asks again, once.
    await look(GONE);
    await eventually(() => expect(asked(GONE)).toBe(before + 2));
  });

  it("TN-61 row 7: clients do not reach each other, by ping or by TCP", { timeout }, async () => {
    const [other = ""] = await tunnelAddresses(many.clients[1] ?? office.client);
    const ping = await many.names.run("ping", "-c", "1", "-W", "1", other);
    expect(ping.status).not.toBe(0);
    const { status } = await many.names.run("curl", "-s", "-m", "2", `http://${other}/`);
    expect(status).not.toBe(0);
  });
});
