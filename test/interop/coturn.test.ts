/** The relay client with coturn (TS-32, RL §23 item 12): the rfc dialect on real sockets. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as dial } from "node:net";
import { join } from "node:path";
import { connect as dialTls } from "node:tls";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { describeWith } from "../lib/requirements.ts";
import {
  type Coturn,
  type LiveRelayClient,
  OTHER_USER,
  openEcho,
  openRelayClient,
  openStreamClient,
  startCoturn,
  USER,
} from "./coturn-server.ts";

const CERTIFICATE = readFileSync(join(import.meta.dirname, "../vectors/portal/localhost.crt"), "utf8");

describeWith(["coturn", "ipv6"], "the relay client and coturn", () => {
  let coturn: Coturn;
  const clients: LiveRelayClient[] = [];

  beforeAll(async () => {
    // A nonce is worth two seconds.
    coturn = await startCoturn(["--stale-nonce=2"]);
  }, 20_000);
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
  });
  afterAll(() => coturn?.close());

  async function open(credentials = USER, families?: "both" | "v4"): Promise<LiveRelayClient> {
    const client = await openRelayClient(coturn.port, credentials, families);
    clients.push(client);
    return client;
  }

  async function active(families?: "both" | "v4"): Promise<LiveRelayClient> {
    const client = await open(USER, families);
    await client.until(() => client.machine.state() === "active", 5_000);
    return client;
  }

  it("RL-90, RL-92: is challenged, and gets an allocation of both families", async () => {
    const client = await active();
    expect(client.codes).toEqual([401]);
    expect([client.machine.relayed(4)?.address, client.machine.relayed(16)?.address]).toEqual([
      ip("127.0.0.1"),
      ip("::1"),
    ]);
    await client.until(
      () => client.machine.candidates().filter(({ kind }) => kind === "host").length === 2,
      2_000,
    );
    expect(client.machine.rttMs()).toBeLessThan(1_000);
  });

  it.each(["127.0.0.1", "::1"])(
    "RL-101, RL-4: data behind the bind is relayed to %s, and back",
    async (address) => {
      const client = await active();
      const echo = await openEcho(address);
      try {
        client.send(echo.at, "hello");
        await client.until(() => client.received.length > 0, 2_000);
        expect(client.received).toEqual([{ peer: echo.at, text: "HELLO" }]);
        client.send(echo.at, "again, and no multiple of four");
        await client.until(() => client.received.length > 1, 2_000);
        expect(client.received[1]?.text).toBe("AGAIN, AND NO MULTIPLE OF FOUR");
      } finally {
        echo.close();
      }
    },
  );

  it.each(["TCP", "TLS"])("RL-201, RL-210: by %s it gets an allocation, and data both ways", async (kind) => {
    const stream =
      kind === "TCP"
        ? dial(coturn.port, "127.0.0.1")
        : dialTls({ port: coturn.tlsPort, host: "127.0.0.1", servername: "localhost", ca: CERTIFICATE });
    await once(stream, kind === "TCP" ? "connect" : "secureConnect");
    const client = await openStreamClient(stream);
    clients.push(client);
    await client.until(() => client.machine.state() === "active", 5_000);
    const echo = await openEcho("127.0.0.1");
    try {
      for (const text of ["hello", "again, and no multiple of four"]) {
        client.send(echo.at, text);
        await client.until(() => client.received.at(-1)?.text === text.toUpperCase(), 2_000);
      }
      expect(client.received.map(({ peer }) => peer)).toEqual([echo.at, echo.at]);
    } finally {
      echo.close();
    }
  });

  it("RL-97: a peer that coturn denies is reported", async () => {
    const client = await active();
    client.run((machine, now) => machine.bindChannel(now, { address: ip("127.0.0.9"), port: 9 }));
    await client.until(() => client.events.some(({ kind }) => kind === "channel-failed"), 2_000);
    expect(client.codes.at(-1)).toBe(403);
  });

  it("RL-85, RL-89: a Refresh on demand is answered", async () => {
    const client = await active();
    const before = client.machine.pollTimeout();
    client.run((machine, now) => machine.refresh(now));
    await client.until(() => client.machine.pollTimeout() !== before && client.codes.length === 1, 900);
    expect(client.machine.state()).toBe("active");
  });

  it("RL-92, RL-93: a stale nonce is replaced, and the allocation lives on", async () => {
    const client = await active();
    for (let tries = 0; tries < 12 && !client.codes.includes(438); tries++) {
      client.run((machine, now) => machine.refresh(now));
      const due = performance.now() + 500;
      const wake = setTimeout(() => client.run(() => {}), 510);
      await client.until(() => performance.now() >= due || client.codes.includes(438), 2_000);
      clearTimeout(wake);
    }
    expect(client.codes).toContain(438);
    const echo = await openEcho("127.0.0.1");
    client.send(echo.at, "still here");
    await client.until(() => client.received.length > 0, 2_000);
    echo.close();
    expect(client.machine.state()).toBe("active");
    expect(client.events.filter(({ kind }) => kind === "invalidated")).toEqual([]);
  });

  it("RL-92: wrong credentials are the end", async () => {
    const client = await open({ ...USER, password: "guess" });
    await client.until(() => client.machine.freeReason() !== undefined, 5_000);
    expect(client.machine.freeReason()).toBe("auth");
    expect(client.codes).toEqual([401, 401]);
  });

  it("RL-97, RL-116: a restart from the same port finds the old allocation, deletes it and makes another", async () => {
    // By IPv6 it would be another client to coturn, and the old allocation not in the way.
    const client = await active("v4");
    const old = client.machine.relayed(4);
    client.events.length = 0;
    client.run((machine, now) => machine.restart(now));
    await client.until(() => client.machine.state() === "active", 8_000);
    expect(client.codes).toContain(437);
    expect(client.events[0]).toMatchObject({ kind: "invalidated", candidate: { address: old } });
    const echo = await openEcho("127.0.0.1");
    client.send(echo.at, "anew");
    await client.until(() => client.received.length > 0, 2_000);
    echo.close();
  });

  it("RL-117, RL-97: another user: the old allocation is deleted, and a new one made as soon as coturn forgets it", async () => {
    const client = await active("v4");
    client.run((machine, now) => machine.renew(now, OTHER_USER));
    await client.until(() => client.machine.state() === "active", 8_000);
    expect(client.machine.relayed(4)).toBeDefined();
  });

  it("RL-113: coturn gives the next client an allocation after a close", async () => {
    const client = await active();
    client.run((machine, now) => machine.close(now));
    expect(client.machine.state()).toBe("closed");
    const other = await active();
    expect(other.machine.relayed(4)).toBeDefined();
  });
});
