/** Where UDP does not pass, TURN over TLS does (TS-30.7, RL-208). The client's router decides what passes. */
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { connectionsOf, whyOf } from "../lib/ask.ts";
import { eventually } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const VECTORS = join(import.meta.dirname, "../vectors/portal");
const CERTIFICATE = join(VECTORS, "localhost.crt");
const TLS = [
  ...["--tls-listen", "203.0.113.101:443"],
  ...["--tls-cert", CERTIFICATE, "--tls-key", join(VECTORS, "localhost.key")],
];
/** From the first packet to the first answer (TS-30.7). */
const FIRST_ANSWER_WITHIN_MS = 6_000;
const timeout = 90_000;

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "without UDP", () => {
  let office: Office;
  afterEach(() => office?.close());

  /** `what` of the client's packets its router drops, either way. */
  async function block(what: string): Promise<void> {
    const chain = `chain forward {\ntype filter hook forward priority -200\n${what} drop\n}`;
    await office.router.run("nft", ["--", `table inet blocked {\n${chain}\n}\n`]);
  }

  async function unblock(): Promise<void> {
    await office.router.run("nft", ["delete", "table", "inet", "blocked"]);
  }

  async function start(what: string): Promise<Child> {
    const nat = { kind: "port-restricted" } as const;
    const families = { client: "ipv4", gateway: "ipv4" } as const;
    office = await createOffice({ nats: { client: nat, gateway: nat, families }, relays: 1 });
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    await office.startRelay(0, ...TLS);
    const server = office.traffic(office.resource, "serve", "80");
    await block(what);
    await office.startGateway();
    const client = await office.startClient("--ca-file", CERTIFICATE);
    await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 });
    return client;
  }

  const fetchPage = () => office.fetch(office.client, `http://${OFFICE_V4}/`);

  it("TS-30.7: the first answer comes within 6 s, over TLS, and the path leaves TLS when UDP is open again", {
    timeout,
  }, async () => {
    await start("meta l4proto udp");
    const begun = performance.now();
    await fetchPage();
    expect(performance.now() - begun, "first answer").toBeLessThan(FIRST_ANSWER_WITHIN_MS);
    const [connection] = await connectionsOf(office, office.client);
    expect(connection?.path).toBe("relayed-tls");
    const [why] = await whyOf(office, office.client);
    expect(why?.sentence).toMatch(/over TLS.*no relay answers by UDP/);
    await unblock();
    await eventually(async () => {
      const [now] = await connectionsOf(office, office.client);
      expect(now?.path).toBe("direct");
    }, 30_000);
    await fetchPage();
  });

  it("TS-30.7, RL-209: with TCP blocked as well it fails, and says why once", { timeout }, async () => {
    const client = await start("meta l4proto udp drop\ntcp dport 443");
    await expect(fetchPage()).rejects.toThrow();
    await eventually(() => expect(client.stderr()).toMatch(/a stream to a relay failed/), 20_000);
    const warnings = client.stderr().match(/WARN .*no relay is reached, neither by UDP nor by stream/g);
    expect(warnings).toHaveLength(1);
  });
});
