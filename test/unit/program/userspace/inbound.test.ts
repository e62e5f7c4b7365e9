import { describe, expect, it } from "vitest";
import { createSeededRandom, type Instant, instant, ip, SILENT } from "../../../../src/base/index.ts";
import type { InboundFlow } from "../../../../src/program/userspace/inbound.ts";
import { createInbound } from "../../../../src/program/userspace/inbound.ts";
import { createSockets } from "../../../../src/program/userspace/sockets.ts";
import { createStack, type Stack } from "../../../../src/stack/index.ts";

const NOW = instant(1_000);
const HOUR_MS = 3_600_000;
const FRAME = new Uint8Array(65_545);

/** A gateway's stack with its flows, and a client's, without a plane in between. */
function pair(onFlow: (flow: InboundFlow) => void | Promise<void>) {
  const client = createStack({ random: createSeededRandom(1), isRouter: false });
  client.configure([ip("100.64.0.2")]);
  const router = createStack({ random: createSeededRandom(2), isRouter: true });
  let now = NOW;
  const engine = { withStack: <T>(use: (stack: Stack, now: Instant) => T): T => use(router, now) };
  const sockets = createSockets(engine);
  const inbound = createInbound({ engine, sockets, onFlow, log: SILENT });
  const carry = (from: Stack, to: Stack): void => {
    for (let length = from.pollFrame(FRAME); length > 0; length = from.pollFrame(FRAME)) {
      to.handleTcpFrame(NOW, FRAME.slice(0, length));
    }
  };
  return {
    client,
    toRouter: () => carry(client, router),
    toClient: () => carry(router, client),
    /** The router's time passes; nothing of what it sends arrives. Returns when it has nothing more to do. */
    passAlone(): Instant {
      while (router.pollFrame(FRAME) > 0) {}
      for (let due = router.pollTimeout(); due !== undefined; due = router.pollTimeout()) {
        now = due;
        router.handleTimeout(now);
        while (router.pollFrame(FRAME) > 0) {}
      }
      return now;
    },
    /** What the router's stack says, as one turn of the engine does. */
    tell() {
      for (let event = router.pollEvent(); event !== undefined; event = router.pollEvent()) {
        if (!inbound.handle(event)) sockets.handle(event);
      }
    },
  };
}

describe("flows to a gateway without a device", () => {
  it("PG-129: what comes with the handshake is there when the flow is accepted", async () => {
    let received = "";
    const { client, toRouter, toClient, tell } = pair(async (flow) => {
      if (flow.protocol !== "tcp") return;
      const socket = await flow.accept();
      const { value } = await socket.readable.getReader().read();
      received = new TextDecoder().decode(value);
    });
    const id = client.connect(NOW, { address: ip("10.0.0.1"), port: 80 }) ?? 0;
    toRouter();
    tell();
    toClient();
    client.send(NOW, id, new TextEncoder().encode("at once"));
    toRouter();
    // Opened and its first data in one turn.
    tell();
    await new Promise((resolve) => setImmediate(resolve));
    expect(received).toBe("at once");
  });

  it("PG-129: a client that is gone without a word keeps nothing open", async () => {
    let closed = false;
    const { client, toRouter, toClient, tell, passAlone } = pair(async (flow) => {
      if (flow.protocol !== "tcp") return;
      const socket = await flow.accept();
      await socket.closed;
      closed = true;
    });
    client.connect(NOW, { address: ip("10.0.0.1"), port: 80 });
    toRouter();
    tell();
    toClient();
    toRouter();
    tell();
    await new Promise((resolve) => setImmediate(resolve));
    expect(passAlone()).toBeLessThan(NOW + HOUR_MS);
    tell();
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(true);
  });
});
