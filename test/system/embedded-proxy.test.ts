/** SOCKS 5 and HTTP's CONNECT into the tunnel, octet by octet (RFC 1928, RFC 1929, RFC 9110 §9.3.6). */
import { createSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SILENT, secret } from "../../src/base/index.ts";
import { openProxies, type Proxies } from "../../src/program/userspace/proxy/proxy.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { describeWith } from "../lib/requirements.ts";

const SERVER_BYTES = SERVER.split(".").map(Number);
const name = (text: string): number[] => [3, text.length, ...Buffer.from(text)];
const V4 = [1, ...SERVER_BYTES];
const port = (value: number): number[] => [value >> 8, value & 0xff];
const ECHO = 7;
const REFUSED = 8;
const PASSWORD = "open sesame";

/** A peer that says octets and waits for as many. */
class Peer {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #isEnded = false;
  #wake = (): void => {};

  constructor(to: number) {
    this.socket = connect(to, "127.0.0.1");
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    this.socket.on("end", () => {
      this.#isEnded = true;
      this.#wake();
    });
    this.socket.on("error", () => this.#wake());
  }

  say(bytes: readonly number[] | string): void {
    this.socket.write(typeof bytes === "string" ? bytes : Uint8Array.from(bytes));
  }

  async hear(count: number): Promise<number[]> {
    while (this.#received.length < count && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const bytes = [...this.#received.subarray(0, count)];
    this.#received = this.#received.subarray(count);
    return bytes;
  }

  async hearText(): Promise<string> {
    return Buffer.from(await this.hear(Number.POSITIVE_INFINITY)).toString();
  }
}

describeWith(["build"], "proxies into the tunnel", () => {
  let office: EmbeddedOffice;
  const opened: Proxies[] = [];
  let [socks, http, guardedSocks, guardedHttp] = [0, 0, 0, 0];

  beforeAll(async () => {
    office = await openEmbeddedOffice({
      resolver: async (_, family) => (family === 4 ? [SERVER] : []),
      async onFlow(flow) {
        if (flow.protocol === "udp") {
          const datagrams = flow.accept();
          for (let one = await datagrams.receive(); one; one = await datagrams.receive()) datagrams.send(one);
        } else if (flow.protocol === "tcp" && flow.destination.port === ECHO) {
          const socket = await flow.accept();
          await socket.readable.pipeTo(socket.writable).catch(() => {});
        } else flow.refuse("refused");
      },
    });
    const client = { dial: office.client.dial, udp: (family: 4 | 6) => office.client.udp({ family }) };
    const common = { client, socks: "127.0.0.1:0", httpProxy: "127.0.0.1:0", log: SILENT };
    const open = async (password?: string): Promise<readonly number[]> => {
      const proxies = await openProxies({
        ...common,
        password: password === undefined ? undefined : secret(password),
      });
      opened.push(proxies);
      return proxies.addresses.map((one) => one.port);
    };
    [socks = 0, http = 0] = await open();
    [guardedSocks = 0, guardedHttp = 0] = await open(PASSWORD);
  });
  afterAll(async () => {
    for (const proxies of opened) proxies.close();
    await office?.close();
  });

  describe("SOCKS 5", () => {
    async function greeted(to = socks): Promise<Peer> {
      const peer = new Peer(to);
      peer.say([5, 1, 0]);
      expect(await peer.hear(2)).toEqual([5, 0]);
      return peer;
    }

    it.each([
      ["an address", V4],
      ["a name", name(WIKI)],
    ])("PG-129: connects to %s, and both ways carry until both have ended", async (_, target) => {
      const peer = await greeted();
      peer.say([5, 1, 0, ...target, ...port(ECHO)]);
      expect((await peer.hear(10)).slice(0, 4)).toEqual([5, 0, 0, 1]);
      peer.say("there and back");
      peer.socket.end();
      expect(await peer.hearText()).toBe("there and back");
    });

    it.each([
      ["refused", [5, 1, 0, ...V4, ...port(REFUSED)], 5],
      ["no resource", [5, 1, 0, 1, 192, 0, 2, 1, 0, 80], 2],
      ["an unknown kind of address", [5, 1, 0, 2, 0, 0], 8],
      ["BIND", [5, 2, 0, ...V4, 0, 80], 7],
    ])("PG-129: says why not: %s", async (_, request, reply) => {
      const peer = await greeted();
      peer.say(request);
      expect((await peer.hear(10)).slice(0, 2)).toEqual([5, reply]);
    });

    it("PG-129: carries datagrams of who holds the connection", async () => {
      const peer = await greeted();
      peer.say([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
      const reply = await peer.hear(10);
      expect(reply.slice(0, 8)).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
      const at = ((reply[8] ?? 0) << 8) | (reply[9] ?? 0);
      const socket = createSocket("udp4");
      const heard = new Promise<Buffer>((resolve) => socket.on("message", resolve));
      socket.send(Uint8Array.from([0, 0, 0, ...V4, ...port(53), 1, 2, 3]), at, "127.0.0.1");
      expect([...(await heard)]).toEqual([0, 0, 0, ...V4, ...port(53), 1, 2, 3]);
      socket.close();
      peer.socket.destroy();
    });

    it("PG-129: wants the password that is set, and no other", async () => {
      const without = new Peer(guardedSocks);
      without.say([5, 1, 0]);
      expect(await without.hear(2)).toEqual([5, 0xff]);
      for (const [password, status] of [
        ["open barley", 1],
        [PASSWORD, 0],
      ] as const) {
        const peer = new Peer(guardedSocks);
        peer.say([5, 2, 0, 2]);
        expect(await peer.hear(2)).toEqual([5, 2]);
        peer.say([1, 7, ...Buffer.from("postern"), password.length, ...Buffer.from(password)]);
        expect(await peer.hear(2)).toEqual([1, status]);
        peer.socket.destroy();
      }
    });

    it("PG-129: who speaks something else is let go", async () => {
      const peer = new Peer(socks);
      peer.say("GET / HTTP/1.0\r\n\r\n");
      expect(await peer.hearText()).toBe("");
    });
  });

  describe("HTTP's CONNECT", () => {
    it("PG-129: connects to a name, and hands on what follows the head", async () => {
      const peer = new Peer(http);
      peer.say(`CONNECT ${WIKI}:${ECHO} HTTP/1.1\r\nHost: ${WIKI}\r\n\r\nat once`);
      peer.socket.end();
      expect(await peer.hearText()).toBe("HTTP/1.1 200 Connection Established\r\n\r\nat once");
    });

    it.each([
      [`CONNECT ${SERVER}:${REFUSED} HTTP/1.1`, "502"],
      ["CONNECT 192.0.2.1:80 HTTP/1.1", "403"],
      ["CONNECT [2001:db8::1]:80 HTTP/1.1", "403"],
      ["CONNECT nowhere HTTP/1.1", "405"],
      [`GET http://${WIKI}/ HTTP/1.1`, "405"],
      [`CONNECT ${WIKI}:99999 HTTP/1.1`, "405"],
    ])("PG-129: %s is answered by %s", async (request, status) => {
      const peer = new Peer(http);
      peer.say(`${request}\r\n\r\n`);
      expect(await peer.hearText()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    });

    it("PG-129: wants the password that is set, and no other", async () => {
      for (const [password, status] of [
        ["open barley", "407"],
        [PASSWORD, "200"],
      ] as const) {
        const peer = new Peer(guardedHttp);
        const basic = Buffer.from(`postern:${password}`).toString("base64");
        peer.say(`CONNECT ${WIKI}:${ECHO} HTTP/1.1\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`);
        peer.socket.end();
        expect(await peer.hearText()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      }
    });

    it("PG-129: a head without an end is given up", async () => {
      const peer = new Peer(http);
      peer.say(`CONNECT ${"x".repeat(20_000)}`);
      expect(await peer.hearText()).toBe("");
    });
  });

  it("PG-129: everybody may use a proxy with a password, nobody one without", async () => {
    const client = { dial: office.client.dial, udp: () => office.client.udp() };
    const everywhere = { client, socks: "0.0.0.0:0", httpProxy: undefined, log: SILENT };
    await expect(openProxies({ ...everywhere, password: undefined })).rejects.toMatchObject({
      code: "usage",
    });
    opened.push(await openProxies({ ...everywhere, password: secret(PASSWORD) }));
  });
});
