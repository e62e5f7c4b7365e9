/** Many names at once, and many clients with the same proxy addresses for different names (TN-45 to TN-47, TN-65). */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { type ManyClients, startManyClients } from "../lib/many-clients.ts";
import { counterIn, statusOf } from "../lib/observe.ts";
import type { Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const CLIENTS = 16;
const ROUNDS = 5;
/** How long they open new connections, and how many a machine gives that has little time for it. */
const OPEN_S = 10;
const PER_SECOND_LEAST = 20;
const NAMES = 200;
const AT_ONCE = 50;
const timeout = 240_000;
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "dig", "unbound"] as const;
const all = Array.from({ length: NAMES }, (_, i) => `n${i}.lab.example`);

describeWith(NEEDS, "many names and many clients", () => {
  let office: Office;
  let many: ManyClients;
  afterEach(() => office?.close());

  /** How often the site was asked for a name. */
  const asked = (name: string): number =>
    many.names.site.asked().filter((question) => question.startsWith(`${name} `)).length;

  it("TN-46, TN-47, DN-41 to DN-43: 200 new names at once are reached, each at its own address", {
    timeout,
  }, async () => {
    const records = all.map((name, i) => `${name}. 60 IN A 172.20.2.${i + 1}`);
    many = await startManyClients((made) => (office = made), 1, records);
    await office.resource.ip(...all.map((_, i) => `addr add 172.20.2.${i + 1}/16 dev lan`));
    writeFileSync(join(office.client.runFolder, "names"), all.map((name) => `${name}\n`).join(""));
    const get = "curl -s -m 30 -o /dev/null -w '%header{x-served-at} %{remote_ip} {}\\n' http://{}/1000";
    const { stdout } = await many.names.run("sh", "-c", `xargs -P ${AT_ONCE} -I{} ${get} </run/names`);
    const served = stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    expect(served).toHaveLength(NAMES);
    for (const [at, , name = ""] of served) expect(at, name).toBe(`::ffff:172.20.2.${all.indexOf(name) + 1}`);
    for (const name of all) {
      // A and AAAA, and once more where the second query came after the gateway's answer (TN-46: Recreating).
      expect(asked(name), name).toBeGreaterThanOrEqual(2);
      expect(asked(name), name).toBeLessThanOrEqual(4);
    }
    expect(new Set(served.map(([, proxy]) => proxy)).size).toBe(NAMES);

    // Their 1,600 proxy addresses are all different, by UDP as by TCP.
    const ask = async (...args: readonly string[]): Promise<readonly string[]> => {
      const { stdout } = await many.names.run("dig", "+short", ...args, "-f", "/run/names");
      return stdout.trim().split("\n");
    };
    const v4 = await ask("-t", "A");
    const v6 = await ask("-t", "AAAA");
    expect([v4.length, v6.length]).toEqual([4 * NAMES, 4 * NAMES]);
    expect(new Set([...v4, ...v6]).size).toBe(8 * NAMES);
    expect(await ask("+tcp", "-t", "A")).toEqual(v4);
  });

  it("TN-65, TN-67: 16 clients with the same proxy addresses and ports for 16 names never mix, also as fast as they can", {
    timeout,
  }, async () => {
    many = await startManyClients((made) => (office = made), CLIENTS);
    for (let round = 0; round < ROUNDS; round++) await many.fetchApart(round);
    const opened = await many.openApart(OPEN_S);
    // For the records of long runs.
    console.info("16 clients, new connections:", opened);
    expect(opened.perSecond).toBeGreaterThan(PER_SECOND_LEAST);
    expect(counterIn(await statusOf(many.names.gateway), "ingress", "drop_not_client_ip")).toBe(0);
  });
});
