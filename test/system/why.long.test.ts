/** What `postern why` says where no path is found, or one is lost, with the real programs (PG-191). */
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { Cause } from "../../src/connections/index.ts";
import type { Child } from "../../src/program/lab/index.ts";
import { whyOf } from "../lib/ask.ts";
import { block, NO_UDP } from "../lib/blocked-office.ts";
import { startRefusing } from "../lib/granted.ts";
import { echo, eventually } from "../lib/observe.ts";
import { API_URL, createOffice, OFFICE_V4, type Office, type OfficeOptions } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const TAMPER = join(import.meta.dirname, "../lib/tamper.mjs");
const TAMPER_PORT = "9100";
/** As the client's router has it: what the client sends gets lost, what comes to it does not. */
const NOTHING_OUT = 'iifname "client" meta l4proto udp drop';
/** Until everything that is tried has been given up (PG-191), on a busy machine. */
const DECIDED_WITHIN_MS = 60_000;

interface Scenario {
  readonly name: string;
  readonly options?: OfficeOptions;
  /** Which packets the router between them drops from the start. */
  readonly blocked?: string;
  readonly isTampered?: boolean;
  /** Done when the tunnel works. */
  readonly later?: (gateway: Child) => Promise<unknown>;
  readonly client: Cause;
  /** Absent: it is gone. */
  readonly gateway?: Cause;
  readonly says: RegExp;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: "a router drops all UDP",
    blocked: NO_UDP,
    client: "not-heard",
    gateway: "not-heard",
    says: /UDP does not pass: none of \d+ direct pairs/,
  },
  {
    name: "what the client sends gets lost",
    blocked: NOTHING_OUT,
    client: "one-way",
    gateway: "not-heard",
    says: /it answers none of ours: what this end sends gets lost/,
  },
  {
    name: "the ends have other passwords for each other",
    isTampered: true,
    client: "checks-refused",
    gateway: "checks-refused",
    says: /are not signed as agreed: the ends disagree/,
  },
  {
    name: "one end has IPv6 only, the other IPv4, and there is no relay",
    options: {
      nats: {
        client: { kind: "port-restricted" },
        gateway: { kind: "port-restricted" },
        families: { client: "ipv6", gateway: "ipv4" },
      },
    },
    client: "no-common-family",
    gateway: "no-common-family",
    says: /No pair of addresses fits: this end has IPv6, the other IPv4/,
  },
  {
    name: "the gateway is killed",
    later: (gateway) => gateway.stop({ signal: "SIGKILL" }),
    client: "path-died",
    says: /The path worked and then nobody answered any more/,
  },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "why there is no path", () => {
  let office: Office;
  afterEach(() => office?.close());

  for (const { name, options, blocked, isTampered = false, later, says, ...causes } of SCENARIOS) {
    it(`PG-191: ${causes.client}: ${name}`, { timeout: 150_000 }, async () => {
      office = await createOffice(options);
      office.configure([{ resource: "Office" }]);
      await office.startPortal();
      if (blocked !== undefined) await block(office.router, blocked);
      const [gateway] = await Promise.all([startGateway(isTampered), office.startClient()]);
      if (later !== undefined) {
        await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
        await later(gateway);
      }
      // Somebody wants to go there all the while.
      office.client.start({ name: "ping", command: "ping", args: ["-q", OFFICE_V4] });
      await eventually(async () => {
        const [why] = await whyOf(office, office.client);
        expect(why?.cause).toBe(causes.client);
        expect(why?.sentence).toMatch(says);
        expect(why?.remedy, "what to do about it").toMatch(/\w/);
        if (causes.gateway === undefined) return;
        const [other] = await whyOf(office, office.gateway);
        expect(other?.cause).toBe(causes.gateway);
      }, DECIDED_WITHIN_MS);
      const said = office.postern(office.client, ["why"]);
      await said.wait(10_000);
      expect(said.stdout().replaceAll(/\s+/g, " ")).toMatch(says);
    });
  }

  it("PG-191: answered-by-error: a client of another make refuses the gateway's checks", {
    timeout: 150_000,
  }, async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    await office.startGateway();
    await startRefusing(office, "Office");
    await eventually(async () => {
      const [why] = await whyOf(office, office.gateway);
      expect(why?.cause).toBe("answered-by-error");
      expect(why?.sentence).toMatch(/refuses them with error 500: the ends disagree/);
    }, DECIDED_WITHIN_MS);
  });

  async function startGateway(isTampered: boolean): Promise<Child> {
    if (!isTampered) return office.startGateway();
    const args = [TAMPER, TAMPER_PORT, API_URL];
    const tamper = office.gateway.start({ name: "tamper", command: process.execPath, args });
    await tamper.waitForLine(/^listening$/, { withinMs: 10_000 });
    return office.startGateway("--api-url", `ws://127.0.0.1:${TAMPER_PORT}`);
  }
});
