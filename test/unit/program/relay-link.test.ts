/** How long a relay tries to reach its portal (RL-68, RL-71), with a clock of the test's own and a real portal. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { instant, ip, SILENT, secret } from "../../../src/base/index.ts";
import { MAX_PARTITION_MS, parsePortalUrl } from "../../../src/portal/protocol/index.ts";
import { exitCodeOf } from "../../../src/program/exit.ts";
import { connectRelay, type RelayLink } from "../../../src/program/relay/relay-link.ts";
import { eventually } from "../../lib/observe.ts";
import { startPortal, type TestPortal } from "./portal-peer.ts";

/** More than retries and pauses of a test take, far less than a day. */
const MARGIN_MS = 3_600_000;

/** What lies between relay and portal, and can be cut. */
interface Way {
  readonly port: number;
  cut(): Promise<void>;
  mend(): Promise<void>;
}

async function openWay(portal: TestPortal): Promise<Way> {
  const { hostname, port: to } = new URL(portal.url);
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const listen = async (port: number): Promise<number> => {
    server = createServer((near) => {
      const far = connect(Number(to), hostname);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
      }
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  };
  const port = await listen(0);
  return {
    port,
    async cut() {
      const closed = server?.listening === true ? once(server, "close") : undefined;
      server?.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    mend: async () => void (await listen(port)),
  };
}

let portal: TestPortal;
let way: Way;
let link: RelayLink;
afterEach(async () => {
  await link.close();
  await way.cut();
  await portal.stop();
});

it("RL-68, RL-71: gives up after 24 hours without the portal, not before, and each loss has its own", {
  timeout: 60_000,
}, async () => {
  portal = await startPortal();
  way = await openWay(portal);
  const url = parsePortalUrl(`ws://127.0.0.1:${way.port}`);
  if (!url.ok) throw new Error(url.reason);
  let leaptMs = 0;
  let registrations = 0;
  const failures: unknown[] = [];
  link = connectRelay({
    portal: { url: url.value, token: secret(portal.tokens.relay), name: "lab" },
    params: { ipv4: ip("198.51.100.7"), port: 3478, stampSecret: "ab".repeat(32) },
    ...{ maxPartitionMs: undefined, caFile: undefined, tell: () => {}, log: SILENT },
    now: () => instant(Math.floor(performance.now()) + leaptMs),
    onRegistered: () => registrations++,
    fail: (error) => failures.push(error),
  });
  const lose = async (): Promise<void> => {
    const { hiccups } = link.status();
    await way.cut();
    await eventually(() => expect(link.status().hiccups).toBeGreaterThan(hiccups), 10_000);
  };
  const anotherTry = async (): Promise<void> => {
    const { hiccups } = link.status();
    await eventually(() => expect(link.status().hiccups).toBeGreaterThan(hiccups), 20_000);
  };

  await eventually(() => expect(registrations).toBe(1), 10_000);
  for (let loss = 1; loss <= 2; loss++) {
    await lose();
    leaptMs += MAX_PARTITION_MS - MARGIN_MS;
    await anotherTry();
    expect([failures, link.unhealthy()]).toEqual([[], undefined]);
    await way.mend();
    await eventually(() => expect(registrations).toBe(1 + loss), 20_000);
    expect(link.status().state).toBe("connected");
  }
  await lose();
  leaptMs += MAX_PARTITION_MS - MARGIN_MS;
  await anotherTry();
  expect(failures).toEqual([]);
  leaptMs += MARGIN_MS;
  await eventually(() => expect(failures).toHaveLength(1), 30_000);
  expect(link.unhealthy()).toBe("the portal has been away too long");
  expect(failures[0]).toMatchObject({ code: "portal_unreachable" });
  expect(exitCodeOf(failures[0])).toBeGreaterThan(0);
});
