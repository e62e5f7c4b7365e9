/** The library, both ends in this process: a client that dials, a gateway that answers flows itself. */
import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  connectClient,
  type InboundFlow,
  startGateway,
  type TcpSocket,
  type TokenRequest,
} from "../../src/index.ts";
import { type EmbeddedOffice, FILTERED, GRADES, openEmbeddedOffice, SERVER, WIKI } from "../lib/embedded.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";

const ECHO = 7;
const REFUSED = 8;
const PROHIBITED = 9;
const SILENT = 10;
const RESETS = 11;
const HOST = 12;
const UNDECIDED = 13;

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

async function readAll(socket: TcpSocket): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket.readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "no error",
    (reason: unknown) => reason,
  );
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

describe.each(GRADES)("sockets: %s", (sockets) =>
  describeWith(["build"], "a client and a gateway in this process", () => {
    let office: EmbeddedOffice;
    let host: Server;
    const seen: InboundFlow[] = [];

    beforeAll(async () => {
      host = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
      await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
      const { port } = host.address() as AddressInfo;
      office = await openEmbeddedOffice({
        sockets,
        resolver: async (_, family) => (family === 4 ? [SERVER] : []),
        onFlow: (flow) => serve(flow, port),
      });
    });
    afterAll(async () => {
      await office?.close();
      host?.close();
    });

    async function serve(flow: InboundFlow, hostPort: number): Promise<void> {
      seen.push(flow);
      if (flow.protocol === "icmp") return flow.accept();
      if (flow.protocol === "udp") {
        const datagrams = flow.accept();
        for (let one = await datagrams.receive(); one !== undefined; one = await datagrams.receive()) {
          datagrams.send(one);
        }
        return;
      }
      switch (flow.destination.port) {
        case REFUSED:
          return flow.refuse("refused");
        case PROHIBITED:
          return flow.refuse("prohibited");
        case SILENT:
          return await new Promise(() => {});
        case RESETS:
          return (await flow.accept()).abort();
        case HOST:
          return await flow.forward({ host: "127.0.0.1", port: hostPort });
        case UNDECIDED:
          return;
        default: {
          const socket = await flow.accept();
          await socket.readable.pipeTo(socket.writable).catch(() => {});
        }
      }
    }

    it("PG-120, PG-122: dials an address, writes, reads, half-closes, and is closed", async () => {
      const socket = await office.client.dial({ host: SERVER, port: ECHO });
      expect(socket.remote).toEqual({ address: SERVER, port: ECHO });
      const writer = socket.writable.getWriter();
      await writer.write(bytesOf("hello "));
      await writer.write(bytesOf("tunnel"));
      await writer.close();
      expect(textOf(await readAll(socket))).toBe("hello tunnel");
      await socket.closed;
    });

    it("PG-123: dials a name by its proxy address; the gateway sees what it resolved", async () => {
      const socket = await office.client.dial({ host: WIKI, port: ECHO, family: 4 });
      expect(socket.remote.address).toMatch(/^100\.(9[6-9]|1[01]\d)\./);
      expect(seen.at(-1)?.destination).toEqual({ address: SERVER, port: ECHO });
      socket.abort();
      const addresses = await office.client.lookup(WIKI);
      expect(addresses.filter((one) => one.includes(":"))).not.toEqual([]);
      expect(await office.client.lookup(WIKI, { family: 4 })).toContain(socket.remote.address);
    });

    it("PG-123: goes on to IPv4 where the name has no IPv6 behind the gateway", async () => {
      const socket = await office.client.dial({ host: WIKI, port: ECHO });
      expect(socket.remote.address).toMatch(/^100\./);
      socket.abort();
    });

    it.each(["192.0.2.1", "2001:db8::1", "other.example", "100.96.255.1"])(
      "PG-123: %s is no resource, and nothing is sent",
      async (name) => {
        const before = seen.length;
        expect(await codeOf(office.client.dial({ host: name, port: 80 }))).toBe("not_a_resource");
        expect(seen.length).toBe(before);
      },
    );

    it.each([
      [SERVER, REFUSED, "refused"],
      [SERVER, PROHIBITED, "prohibited"],
      [SERVER, UNDECIDED, "prohibited"],
      [FILTERED, 81, "prohibited"],
    ])("PG-124: %s port %i fails at once with %s", async (name, port, code) => {
      expect(await codeOf(office.client.dial({ host: name, port }))).toBe(code);
    });

    it("PG-120: a dial ends with its time and with its signal", async () => {
      expect(await codeOf(office.client.dial({ host: SERVER, port: SILENT, timeoutMs: 50 }))).toBe("timeout");
      const abort = new AbortController();
      const dial = office.client.dial({ host: SERVER, port: SILENT, signal: abort.signal });
      abort.abort(new Error("enough"));
      await expect(dial).rejects.toThrow("enough");
    });

    it("PG-120: a reset is an error of both streams", async () => {
      const socket = await office.client.dial({ host: SERVER, port: RESETS });
      await expect(readAll(socket)).rejects.toMatchObject({ code: "reset" });
      await expect(socket.writable.getWriter().write(bytesOf("x"))).rejects.toMatchObject({ code: "reset" });
      await socket.closed;
    });

    it("PG-125: carries megabytes, in order, while nobody waits for the end of the write", async () => {
      const socket = await office.client.dial({ host: SERVER, port: ECHO });
      const sent = Buffer.alloc(8_000_000);
      for (let i = 0; i < sent.length; i += 4) sent.writeUInt32BE(i, i);
      const writer = socket.writable.getWriter();
      const writing = writer.write(sent).then(() => writer.close());
      const received = await readAll(socket);
      await writing;
      expect(Buffer.compare(received, sent)).toBe(0);
    });

    it("PG-125: a reader may bring its own memory, which it gets back at the end, too", async () => {
      const socket = await office.client.dial({ host: SERVER, port: ECHO });
      const sent = Buffer.alloc(1_000_000);
      for (let i = 0; i < sent.length; i += 4) sent.writeUInt32BE(i, i);
      const writer = socket.writable.getWriter();
      const writing = writer.write(sent).then(() => writer.close());
      const reader = socket.readable.getReader({ mode: "byob" });
      const found: Buffer[] = [];
      let room = new ArrayBuffer(100_000);
      for (let isOver = false; !isOver; ) {
        const { value, done } = await reader.read(new Uint8Array(room));
        isOver = done;
        if (value === undefined) break;
        found.push(Buffer.from(value));
        room = value.buffer;
      }
      await writing;
      expect(room.byteLength).toBe(100_000);
      expect(Buffer.compare(Buffer.concat(found), sent)).toBe(0);
    });

    it("PG-129: a flow is forwarded to a socket of the host, half-close included", async () => {
      const socket = await office.client.dial({ host: SERVER, port: HOST });
      const writer = socket.writable.getWriter();
      await writer.write(bytesOf("through the host"));
      await writer.close();
      expect(textOf(await readAll(socket))).toBe("through the host");
    });

    it("PG-120: datagrams, to an address and to a name", async () => {
      await using socket = await office.client.udp();
      socket.send(bytesOf("one"), { host: SERVER, port: 53 });
      const first = await socket.receive();
      expect([textOf(first.data), first.from]).toEqual(["one", { address: SERVER, port: 53 }]);
      socket.send(bytesOf("two"), { host: WIKI, port: 53 });
      const second = await socket.receive();
      expect(textOf(second.data)).toBe("two");
      expect(second.from.address).toMatch(/^100\./);
    });

    it("PG-125: a datagram that does not fit is refused, and a receive ends with its signal", async () => {
      await using socket = await office.client.udp();
      expect(() => socket.send(new Uint8Array(65_508), { host: "10.77.0.3", port: 1 })).not.toThrow();
      await eventually(() =>
        expect(() => socket.send(new Uint8Array(65_508), { host: "10.77.0.3", port: 1 })).toThrow(
          /does not fit/,
        ),
      );
      await expect(socket.receive({ signal: AbortSignal.timeout(20) })).rejects.toThrow();
    });

    it("PG-120: pings what the gateway answers for", async () => {
      expect(await office.client.ping(SERVER)).toBeGreaterThan(0);
      expect(await codeOf(office.client.ping("192.0.2.1"))).toBe("not_a_resource");
    });

    it("PG-109, PG-120: shows its resources, connections and counters", async () => {
      const status = office.client.status();
      expect(status).toMatchObject({
        role: "client",
        mode: "userspace",
        ready: true,
        sockets: { grade: sockets },
      });
      expect(status.resources.map(({ name }) => name).sort()).toEqual(["Filtered", "Office", "Wiki"]);
      expect(office.client.connections()).toMatchObject([{ state: "connected", path: "direct" }]);
      expect(office.gateway.status().connections).toHaveLength(1);
      expect(office.client.state).toBe("ready");
    });

    it("PG-124: access that is taken away ends what is open", async () => {
      const socket = await office.client.dial({ host: SERVER, port: ECHO });
      const writer = socket.writable.getWriter();
      office.grant(["Wiki"]);
      await eventually(() => expect(office.client.resources().map(({ name }) => name)).toEqual(["Wiki"]));
      expect(await codeOf(office.client.dial({ host: SERVER, port: ECHO }))).toBe("not_a_resource");
      await expect(writer.write(bytesOf("anybody?"))).rejects.toMatchObject({ code: "prohibited" });
      await expect(readAll(socket)).rejects.toMatchObject({ code: "prohibited" });
      office.grant(["Office", "Filtered", "Wiki"]);
      await eventually(() => expect(office.client.resources()).toHaveLength(3));
      (await office.client.dial({ host: SERVER, port: ECHO })).abort();
    });
  }),
);

describeWith(["build"], "an instance's end", () => {
  it("PG-130: pending operations reject with `closed`, and the second close is the first", async () => {
    const office = await openEmbeddedOffice({ onFlow: () => new Promise(() => {}) });
    const dial = codeOf(office.client.dial({ host: SERVER, port: 80 }));
    const socket = await office.client.udp();
    const receive = codeOf(socket.receive());
    const first = office.client.close();
    await Promise.all([first, office.client.close()]);
    expect(await Promise.all([dial, receive])).toEqual(["closed", "closed"]);
    expect(await office.client.closed).toEqual({ kind: "closed" });
    expect(office.client.state).toBe("closed");
    expect(await codeOf(office.client.dial({ host: SERVER, port: 80 }))).toBe("closed");
    await office.close();
  });

  it.each(
    GRADES.flatMap((sockets) => (["client", "gateway"] as const).map((ending) => ({ sockets, ending }))),
  )("PG-130: the other side hears that its connections are over ($ending, $sockets)", async (which) => {
    // More than there is room for answers to strangers (PG-127).
    const many = 300;
    const served: TcpSocket[] = [];
    const office = await openEmbeddedOffice({
      sockets: which.sockets,
      async onFlow(flow) {
        if (flow.protocol === "tcp") served.push(await flow.accept());
      },
    });
    const to = { host: SERVER, port: ECHO };
    const dialed = await Promise.all(Array.from({ length: many }, () => office.client.dial(to)));
    await eventually(() => expect(served).toHaveLength(many));
    const others = which.ending === "client" ? served : dialed;
    const ends = Promise.all(others.map((socket) => codeOf(readAll(socket))));
    await office[which.ending].close();
    expect(new Set(await ends)).toEqual(new Set(["reset"]));
    await office.close();
  });

  it("PG-124: a site without a gateway is offline", async () => {
    const office = await openEmbeddedOffice({ hasGateway: false });
    expect(await codeOf(office.client.dial({ host: SERVER, port: 80 }))).toBe("offline");
    await office.close();
  });

  it("PG-120: a token that the portal does not know is `auth`, a portal that is not there unreachable", async () => {
    const office = await openEmbeddedOffice({ hasGateway: false });
    const apiUrl = office.portal.apiUrl ?? "";
    const options = { apiUrl, id: "x", addresses: ["127.0.0.1"], sockets: "plain" } as const;
    expect(await codeOf(connectClient({ ...options, token: "ptc_wrong" }))).toBe("auth");
    const abort = new AbortController();
    const nowhere = connectClient({
      ...options,
      apiUrl: "ws://127.0.0.1:1",
      token: "x",
      signal: abort.signal,
    });
    abort.abort(new Error("no patience"));
    await expect(nowhere).rejects.toThrow("no patience");
    await office.close();
  });

  it("PG-120: a token of a function is asked for again when the portal refuses it, by client and gateway", async () => {
    const office = await openEmbeddedOffice({ hasGateway: false });
    const { apiUrl = "", tokens } = office.portal;
    const asked: TokenRequest[] = [];
    const tokenThen = (next: string) => (request: TokenRequest) => {
      asked.push(request);
      return request.refused === undefined ? "ptx_old" : next;
    };
    const options = { apiUrl, addresses: ["127.0.0.1"], sockets: "plain" } as const;
    await using client = await connectClient({
      ...options,
      ...{ id: "again", token: tokenThen(tokens?.client ?? "") },
    });
    await using gateway = await startGateway({
      ...options,
      ...{ id: "again", token: tokenThen(tokens?.gateway ?? "") },
    });
    expect([client.state, gateway.state]).toEqual(["ready", "ready"]);
    expect(asked).toEqual([{}, { refused: "ptx_old" }, {}, { refused: "ptx_old" }]);
    expect(await codeOf(connectClient({ ...options, id: "same", token: () => "ptx_old" }))).toBe("auth");
    const giveUp = (): never => {
      throw new Error("signed out");
    };
    const once = ({ refused }: TokenRequest): string => (refused === undefined ? "ptx_old" : giveUp());
    await expect(connectClient({ ...options, id: "out", token: once })).rejects.toThrow("signed out");
    await office.close();
  });

  it("PG-129: without onFlow the host's UDP sockets serve, too", async () => {
    const echo = createSocket("udp4");
    echo.on("message", (bytes, { port, address }) => echo.send(bytes, port, address));
    await new Promise<void>((resolve) => echo.bind(0, "127.0.0.1", resolve));
    const office = await openEmbeddedOffice({
      onFlow: (flow) => flow.forward({ host: "127.0.0.1", port: echo.address().port }),
    });
    await using socket = await office.client.udp();
    socket.send(bytesOf("to the host"), { host: SERVER, port: 9 });
    expect(textOf((await socket.receive()).data)).toBe("to the host");
    await office.close();
    echo.close();
  });
});
