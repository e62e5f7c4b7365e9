/** What a client may reach and what not, with the real programs (TN-20, TN-53, TN-54, TN-61, TN-62). */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AuthorizationView, ConnectionView } from "../../src/program/control/status.ts";
import { type Child, patient } from "../../src/program/lab/index.ts";
import { buildWith, type ChangedBuild } from "../lib/changed-build.ts";
import {
  BRIEFLY,
  counterIn,
  echo,
  echoesSeen,
  eventually,
  newest,
  statusOf,
  timeOf,
  timesOf,
  tunnelAddresses,
  warningsOf,
} from "../lib/observe.ts";
import {
  type Access,
  API_URL,
  createOffice,
  OFFICE_V4,
  OFFICE_V6,
  type Office,
  START_WITHIN_MS,
  VAULT,
} from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const ALWAYS: readonly Access[] = [{ resource: "Office" }, { resource: "Office6" }];
const SINK = "9000";
const FOUNTAIN = "9001";
/** What may still arrive after the gateway has closed an access: what was on its way, and a busy machine. */
const IN_FLIGHT_MS = 1000;
/** What a peer may have refused with an answer is counted by the second (TN-14). */
const REFUSALS_WINDOW_MS = 1_000;
/** Of a test that waits for several things, each with a bound of its own. */
const timeout = 180_000;

describeWith(["netns", "tun", "nft", "ipv6", "build"], "access through client and gateway", () => {
  let office: Office;
  let stepped: ChangedBuild;
  let gateway: Child;
  let client: Child;
  let sink: Child;
  let sha256 = "";

  beforeAll(async () => {
    stepped = buildWith("main", "stepped-clock.mjs");
    office = await createOffice();
    office.configure([...ALWAYS, { resource: "Vault" }]);
    await office.startPortal();
    const server = office.traffic(office.resource, "serve", "80");
    sink = office.traffic(office.resource, "sink", SINK);
    office.traffic(office.resource, "fountain", FOUNTAIN);
    [gateway, client] = await Promise.all([startGateway(), office.startClient()]);
    sha256 = (await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 }))[1] ?? "";
  });
  afterAll(async () => {
    await office?.close();
    stepped?.remove();
  });

  /** With a wall clock of its own, which `setClock` sets. */
  async function startGateway(): Promise<Child> {
    const env = {
      POSTERN_TOKEN: office.tokens.gateway,
      POSTERN_TEST_CLOCK: "/run/clock",
    };
    const args = ["gateway", "--api-url", API_URL, "--id", "lab-gateway"];
    const child = office.postern(office.gateway, args, env, stepped.main);
    await child.waitForLine(/INFO postern: ready /, { withinMs: START_WITHIN_MS });
    return child;
  }

  /** The gateway's clock goes wrong by so much. */
  function setClock(byMs: number): void {
    const file = join(office.gateway.runFolder, "clock");
    writeFileSync(`${file}.new`, String(byMs));
    renameSync(`${file}.new`, file);
  }

  interface Streams {
    /** A TCP stream of the client to the vault. */
    readonly source: Child;
    /** What the vault sends to the client by UDP, asked for once. */
    readonly drink: Child;
  }

  /** Both run when this resolves. */
  async function startStreams(): Promise<Streams> {
    const before = newest(sink).count;
    const source = office.traffic(office.client, "source", VAULT, SINK);
    const drink = office.traffic(office.client, "drink", VAULT, FOUNTAIN);
    await eventually(() => {
      expect(newest(sink).count).toBeGreaterThan(before);
      expect(newest(drink).count).toBeGreaterThan(3);
    });
    return { source, drink };
  }

  /** What the gateway holds of the client. */
  async function authorizations(): Promise<readonly AuthorizationView[]> {
    const child = office.postern(office.gateway, ["connections", "--json"]);
    await child.wait(10_000);
    const connections: readonly ConnectionView[] = JSON.parse(child.stdout());
    return connections.flatMap((connection) => connection.authorizations ?? []);
  }

  /** Neither direction passes after `endedAt`, although both ends go on sending. */
  async function expectCut(streams: Streams, endedAt: number): Promise<void> {
    const before = await statusOf(gateway);
    await eventually(async () => {
      const after = await statusOf(gateway);
      const grown = (line: string, name: string): number =>
        counterIn(after, line, name) - counterIn(before, line, name);
      expect(grown("control", "refused"), "refused").toBeGreaterThan(0);
      expect(grown("egress", "drop_not_allowed"), "not-allowed").toBeGreaterThan(0);
    }, 15_000);
    expect(newest(sink).at).toBeLessThan(endedAt + patient(IN_FLIGHT_MS));
    expect(newest(streams.drink).at).toBeLessThan(endedAt + patient(IN_FLIGHT_MS));
  }

  /**
   * What the source had on its way was refused as well. On a busy machine that is more than gets an answer in one second,
   * and an echo in the same second would get none either (TN-14): resolves after one in which nothing was refused.
   */
  async function stopStreams(streams: Streams): Promise<void> {
    await streams.source.stop();
    await streams.drink.stop();
    let before = Number.NaN;
    await eventually(
      async () => {
        const status = await statusOf(gateway);
        const refused =
          counterIn(status, "control", "refused") + counterIn(status, "ingress", "drop_refuse_rate");
        const isQuiet = refused === before;
        before = refused;
        expect(isQuiet, `still refused: ${refused}`).toBe(true);
      },
      15_000,
      REFUSALS_WINDOW_MS,
    );
  }

  /** The client is as far as the portal's new file. */
  async function clientHears(pattern: RegExp, since: number): Promise<void> {
    await eventually(() => expect(timeOf(client, pattern)).toBeGreaterThanOrEqual(since), 20_000);
  }

  it.each([
    [OFFICE_V4, `http://${OFFICE_V4}/`, "::ffff:172.20.0.1"],
    [OFFICE_V6, `http://[${OFFICE_V6}]/`, "fd20::1"],
  ])("TS-30 no. 1: fetches a page from %s, which sees the gateway only", async (_, url, seenFrom) => {
    const page = await office.fetch(office.client, url);
    expect(page).toEqual({ sha256, seenFrom });
  });

  it.each([OFFICE_V4, OFFICE_V6])(
    "TN-5, TN-112: ping with 3,000 bytes reaches %s in fragments",
    async (address) => {
      office.useNameServer(office.client, OFFICE_V4);
      // In IPv6 the resource learns from its first answer how long fragments may be on the way back.
      const times = ["-c", "3", "-i", "0.5", "-W", "10"];
      const ping = office.program(office.client, "ping", "-s", "3000", ...times, address);
      const { status } = await ping.wait(25_000);
      expect(ping.stdout()).toMatch(/[23] received/);
      expect(status).toBe(0);
    },
    30_000,
  );

  it("TN-61 row 6: of the gateway itself a client reaches the echo, and nothing that listens there", async () => {
    const [v4 = "", v6 = ""] = await tunnelAddresses(office.gateway);
    expect(await echo(office.client, v4)).toBe("answered");
    expect(await echo(office.client, v6)).toBe("answered");
    const own = office.traffic(office.gateway, "sink", SINK);
    await own.waitForLine(/^listening$/, { withinMs: 10_000 });
    const before = counterIn(await statusOf(gateway), "control", "refused");
    const source = office.traffic(office.client, "source", v4, SINK);
    await source.waitForLine(/^error EACCES|^error EHOSTUNREACH/, { withinMs: 10_000 });
    expect(counterIn(await statusOf(gateway), "control", "refused")).toBeGreaterThan(before);
    await source.stop();
    await own.stop();
  });

  it("TN-20, TN-21: what belongs to no resource and no peer does not enter a tunnel", async () => {
    await office.client.ip("route add 172.22.0.0/16 dev tun-postern");
    const before = await statusOf(client);
    expect(await echo(office.client, "172.22.0.1", ...BRIEFLY)).toBe("silence");
    expect(await echo(office.client, "100.64.99.99", ...BRIEFLY)).toBe("silence");
    expect(await echo(office.client, "100.96.0.1")).toBe("unreachable");
    const after = await statusOf(client);
    for (const name of ["drop_unknown_resource", "drop_unknown_peer"]) {
      expect(counterIn(after, "egress", name) - counterIn(before, "egress", name), name).toBe(1);
    }
    expect(counterIn(after, "egress", "packets_passed")).toBe(counterIn(before, "egress", "packets_passed"));
    await office.client.ip("route del 172.22.0.0/16 dev tun-postern");
  });

  it("TS-30 no. 46, TN-43: a second client has access of its own, and its goodbye ends only that", {
    timeout,
  }, async () => {
    // Any machine with a way to the gateway will do.
    const env = { POSTERN_TOKEN: office.tokens.client };
    const args = ["client", "--api-url", API_URL, "--id", "lab-second", "--dns-control", "disabled"];
    const second = office.postern(office.portal, args, env);
    await second.waitForLine(/INFO postern: ready /, { withinMs: START_WITHIN_MS });
    expect(await echo(office.portal, OFFICE_V4)).toBe("answered");
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
    expect(Number((await statusOf(gateway))["status"]?.["connections"])).toBe(2);
    // One client is not a way to the other: not even the sender's own plane knows a peer for it.
    const [other = ""] = await tunnelAddresses(office.portal);
    expect(await echo(office.client, other, ...BRIEFLY)).toBe("silence");
    expect(await second.stop()).toEqual({ status: 0, signal: undefined });
    await gateway.waitForLine(/access ended .*reason=goodbye/, { withinMs: 5000 });
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
  });

  it("TN-54: access taken away ends at once, both ways, even for a client that has not heard of it", {
    timeout,
  }, async () => {
    expect(await echo(office.client, VAULT)).toBe("answered");
    const streams = await startStreams();
    await office.cutPortal(office.client, true);
    expect(await echo(office.client, OFFICE_V6)).toBe("answered");
    office.configure([{ resource: "Office" }]);
    // The vault's and that to IPv6, one after another.
    const ended = (): readonly number[] => timesOf(gateway, /access ended .*reason=revoked/);
    await eventually(() => expect(ended()).toHaveLength(2));
    await expectCut(streams, Math.max(...ended()));
    await stopStreams(streams);

    const seen = await echoesSeen(office.resource);
    for (const to of [VAULT, OFFICE_V6]) expect(await echo(office.client, to), to).toBe("prohibited");
    expect(await echoesSeen(office.resource)).toBe(seen);
    expect(await echo(office.client, OFFICE_V4)).toBe("answered");
    await office.cutPortal(office.client, false);
  });

  it("PT-90: a client that hears of it has no route any more", { timeout }, async () => {
    for (const name of ["Vault", "Office6"]) {
      await client.waitForLine(new RegExp(`resources deactivated .*${name}`), { withinMs: 30_000 });
    }
    const routes = await office.client.run("ip", ["route", "show", "table", "all"]);
    expect(routes).not.toContain("172.21.0.0/16");
    expect(routes).not.toContain("fd20::/64");
    expect(routes).toContain("172.20.0.0/16 dev tun-postern");
  });

  it("TN-53: access that expires ends at its time, both ways", { timeout }, async () => {
    // The portal is asked for it in whole seconds (PT-82).
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + Math.ceil(patient(4)) * 1000);
    const since = Date.now();
    office.configure([...ALWAYS, { resource: "Vault", until }]);
    await clientHears(/resources activated .*Vault/, since);
    const streams = await startStreams();
    expect(await echo(office.client, OFFICE_V6)).toBe("answered");
    // So that only the gateway's own clock can end it.
    await office.cutPortal(office.client, true);
    await office.cutPortal(office.gateway, true);
    const leftMs = Math.max(0, until.getTime() - Date.now());
    await gateway.waitForLine(/access ended .*reason=expired/, { withinMs: leftMs + 15_000 });
    const endedAt = timeOf(gateway, /access ended .*reason=expired/);
    expect(endedAt).toBeGreaterThanOrEqual(until.getTime());
    expect(endedAt).toBeLessThan(until.getTime() + patient(IN_FLIGHT_MS));
    await expectCut(streams, endedAt);
    await stopStreams(streams);
    expect(await echo(office.client, VAULT)).toBe("prohibited");
    expect(await echo(office.client, OFFICE_V6)).toBe("answered");
    await office.cutPortal(office.gateway, false);
    await office.cutPortal(office.client, false);
    // The cut has lasted as long as the access, so that TCP may pause for as long again, or a new connection be made
    // first. Until then the client does not know that the access is over, and would not hear of the next as of a new one.
    await clientHears(/resources deactivated .*Vault/, until.getTime());
  });

  it("TN-53: a gateway whose clock is set forward ends at once what has expired by it", {
    timeout,
  }, async () => {
    const hourMs = 3_600_000;
    const since = Date.now();
    office.configure([...ALWAYS, { resource: "Vault", until: new Date(since + hourMs) }]);
    await clientHears(/resources activated .*Vault/, since);
    // The gateway's way to the portal was cut before; its TCP looks for it in ever longer pauses.
    await eventually(async () => expect(await echo(office.client, VAULT)).toBe("answered"), 30_000);
    const ended = (): number => timesOf(gateway, /access ended .*reason=expired/).length;
    const before = ended();
    // Nothing wakes the gateway but its own watch.
    await office.cutPortal(office.gateway, true);
    setClock(hourMs);
    await eventually(() => expect(ended()).toBe(before + 1), 5000);
    setClock(0);
    await office.cutPortal(office.gateway, false);
  });

  it("TN-36, TS-30 no. 30: what only the gateway has ended is asked for again when it says prohibited", {
    timeout,
  }, async () => {
    const hourMs = 3_600_000;
    const until = new Date(Date.now() + hourMs);
    const asked = (): number => timesOf(client, /access is asked for again/).length;
    office.configure([{ resource: "Office", until }, { resource: "Office6", until }, { resource: "Vault" }]);
    // The vault's stays: with the last of all grants the connection would end as well.
    for (const to of [VAULT, OFFICE_V4, OFFICE_V6]) {
      await eventually(async () => expect(await echo(office.client, to), to).toBe("answered"), 30_000);
    }
    // Before that the vault may still have an end, that of the test before.
    await eventually(async () => {
      const ends = new Map((await authorizations()).map(({ name, expires_in_s }) => [name, expires_in_s]));
      expect(ends.get("Vault")).toBeNull();
      for (const name of ["Office", "Office6"]) expect(ends.get(name)).toEqual(expect.any(Number));
    }, 15_000);
    const ended = (): number => timesOf(gateway, /access ended .*reason=expired/).length;
    const clockSet = (): number => timesOf(gateway, /the clock was set/).length;
    const [before, expired, steps] = [asked(), ended(), clockSet()];
    setClock(hourMs + 60_000);
    await eventually(() => expect(ended()).toBe(expired + 2), 5000);
    setClock(0);
    // The gateway looks at its clock every 2 s; what has ended does not come back by itself.
    await eventually(() => expect(clockSet()).toBe(steps + 2), 5000);
    for (const to of [OFFICE_V4, OFFICE_V6]) {
      expect(await echo(office.client, to), to).toBe("prohibited");
      await eventually(async () => expect(await echo(office.client, to), to).toBe("answered"), 5000);
    }
    expect(asked()).toBe(before + 2);
  });

  it("PG-99: all of that without a warning", () => {
    expect([...warningsOf(client), ...warningsOf(gateway)]).toEqual([]);
  });
});
