import { describe, expect, it } from "vitest";
import { concatBytes, createSeededRandom, instant, ip } from "../../../../src/base/index.ts";
import { GATEWAY_DNS_PORT } from "../../../../src/dns/index.ts";
import type { Asked } from "../../../../src/program/dns/index.ts";
import { createNameDoor } from "../../../../src/program/userspace/name-door.ts";
import { createSockets } from "../../../../src/program/userspace/sockets.ts";
import { createStack, type Stack, type StackEvent } from "../../../../src/stack/index.ts";

const NOW = instant(1_000);
const GATEWAY = [ip("100.64.0.1"), ip("fd00:2021:1111::1")] as const;
const CLIENT = [ip("100.64.0.9"), ip("fd00:2021:1111::9")] as const;
const QUESTION = new Uint8Array(12).fill(7);
const FRAMED = concatBytes(Uint8Array.of(0, 12), QUESTION);
const FRAME = new Uint8Array(65_545);

/** A gateway's stack with its door, and a client's, without a plane in between. */
async function pair(reply: (asked: Asked) => void) {
  const [client, router] = [false, true].map((isRouter, i) =>
    createStack({ random: createSeededRandom(i + 1), isRouter }),
  ) as [Stack, Stack];
  client.configure(CLIENT);
  router.configure(GATEWAY);
  const engine = { withStack: <T>(use: (stack: Stack, now: typeof NOW) => T): T => use(router, NOW) };
  const sockets = createSockets(engine);
  const door = createNameDoor(engine, sockets);
  const asked: Asked[] = [];
  const listeners = await Promise.all(
    GATEWAY.map((address) =>
      door.listenAt(address, (one) => {
        asked.push(one);
        reply(one);
      }),
    ),
  );
  const refused: StackEvent[] = [];
  function carry(from: Stack, to: Stack): boolean {
    let isAny = false;
    for (let length = from.pollFrame(FRAME); length > 0; length = from.pollFrame(FRAME)) {
      isAny = true;
      const frame = FRAME.slice(0, length);
      if ((frame[10] ?? 0) >> 4 === 4 ? frame[19] === 6 : frame[16] === 6) to.handleTcpFrame(NOW, frame);
      else to.handlePacket(NOW, frame.subarray(10));
    }
    return isAny;
  }
  /** Until nothing moves; what the client hears. */
  function run(isRead = true): StackEvent[] {
    const heard: StackEvent[] = [];
    for (let isAny = true; isAny; ) {
      isAny = carry(client, router);
      for (let event = router.pollEvent(); event !== undefined; event = router.pollEvent()) {
        if (!door.handle(event)) refused.push(event);
        if (event.kind.startsWith("tcp-")) sockets.handle(event);
      }
      isAny = carry(router, client) || isAny;
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) {
        heard.push(event);
        if (isRead && event.kind === "tcp-data") client.take(NOW, event.id, event.bytes.length);
      }
    }
    return heard;
  }
  return { client, router, run, asked, listeners, refused };
}

const octetsOf = (events: readonly StackEvent[]): number =>
  events.reduce((sum, event) => sum + (event.kind === "tcp-data" ? event.bytes.length : 0), 0);

describe("a gateway without a device", () => {
  it.each([0, 1] as const)("DN-84: is asked by UDP, and answers from there (address %i)", async (i) => {
    const { client, run, asked } = await pair(({ bytes, reply }) => reply(bytes.slice()));
    const local = { address: CLIENT[i], port: 4_000 };
    const remote = { address: GATEWAY[i], port: GATEWAY_DNS_PORT };
    client.bindUdp(local.port);
    client.sendUdp(local, remote, QUESTION);
    expect(run()).toMatchObject([{ kind: "datagram", remote, bytes: QUESTION }]);
    expect(asked).toMatchObject([{ transport: "udp", client: CLIENT[i] }]);
  });

  it.each([0, 1] as const)("DN-84, DN-90: is asked by TCP, half-closed (address %i)", async (i) => {
    const { client, run, asked } = await pair(({ bytes, reply }) => reply(bytes.slice()));
    const id = client.connect(NOW, { address: GATEWAY[i], port: GATEWAY_DNS_PORT }) ?? 0;
    client.send(NOW, id, concatBytes(FRAMED, FRAMED));
    run();
    client.end(NOW, id);
    const { length } = asked;
    const heard = run();
    expect([length, asked[0]?.transport]).toEqual([2, "tcp"]);
    expect(heard.map(({ kind }) => kind)).toContain("tcp-ended");
  });

  it("DN-90: of a client that reads no answers no more questions are taken than there is room for", async () => {
    const large = new Uint8Array(60_000);
    const { client, run, asked } = await pair(({ reply }) => reply(large));
    const id = client.connect(NOW, { address: GATEWAY[0], port: GATEWAY_DNS_PORT }) ?? 0;
    const questions = concatBytes(...Array.from({ length: 400 }, () => FRAMED));
    client.send(NOW, id, questions);
    let received = octetsOf(run(false));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(100);
    for (let more = received; more > 0; received += more) {
      client.take(NOW, id, more);
      more = octetsOf(run(false));
    }
    expect([asked.length, received]).toEqual([400, 400 * 60_002]);
  });

  it("DN-90: whose questions are not answered fills a window, not the gateway", async () => {
    const { client, run, asked } = await pair(() => {});
    const id = client.connect(NOW, { address: GATEWAY[0], port: GATEWAY_DNS_PORT }) ?? 0;
    const questions = concatBytes(...Array.from({ length: 20_000 }, () => FRAMED));
    let sent = 0;
    for (let taken = 1; taken > 0 && sent < 16 << 20; sent += taken) {
      taken = client.send(NOW, id, questions);
      run();
    }
    // Both buffers' worth.
    expect(sent).toBeLessThan(4 << 20);
    expect(asked).toHaveLength(32);
  });

  it("DN-84: nobody listens elsewhere, nor any more when it has closed", async () => {
    const { client, run, listeners, refused } = await pair(() => {});
    const ask = (port: number) => {
      client.connect(NOW, { address: GATEWAY[0], port });
      return run();
    };
    expect(ask(53_536)).toMatchObject([{ kind: "tcp-closed", reason: "refused" }]);
    expect(ask(GATEWAY_DNS_PORT)).toMatchObject([{ kind: "tcp-opened" }]);
    listeners[0]?.close();
    // The connection that was open ends; the port stays for the other address.
    expect(run()).toMatchObject([{ kind: "tcp-closed", reason: "reset" }]);
    expect(ask(GATEWAY_DNS_PORT).map(({ kind }) => kind)).toEqual(["tcp-opened", "tcp-closed"]);
    listeners[1]?.close();
    expect(ask(GATEWAY_DNS_PORT)).toMatchObject([{ kind: "tcp-closed", reason: "refused" }]);
    expect(refused.filter(({ kind }) => kind === "tcp-opened")).toEqual([]);
  });
});
