import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openKernel, openQuerySockets } from "../../../../bindings/linux/index.ts";
import { ip, toHex } from "../../../../src/base/index.ts";
import type { DirectQuery, DirectResult } from "../../../../src/dns/index.ts";
import { createDirectPath, type DirectPath } from "../../../../src/program/dns/direct-path.ts";
import { plainTcp } from "../../../../src/program/portal-transport.ts";

const kernel = openKernel();
const noDoh = {
  want: () => {},
  ask: (): Promise<DirectResult> => Promise.reject(new Error("no DoH here")),
  reset: () => {},
  close: () => {},
};

function query(token: number, given: Partial<DirectQuery> = {}): DirectQuery {
  return {
    token,
    upstream: { kind: "do53", server: { address: ip("127.0.0.1") } },
    transport: "udp",
    message: Uint8Array.of(1, 2, 3, token),
    ...given,
  };
}

describe("the direct path", () => {
  let udp: Socket;
  let tcp: Server;
  let path: DirectPath;
  let results: [number, string][];
  let told: () => void;
  let asked: { from: RemoteInfo; bytes: string }[];
  let answerTcp: (peer: import("node:net").Socket, bytes: Buffer) => void;

  beforeEach(async () => {
    results = [];
    asked = [];
    told = () => {};
    answerTcp = (peer, bytes) => peer.write(bytes);
    tcp = createServer((peer) => {
      peer.on("error", () => {});
      peer.on("data", (bytes) => answerTcp(peer, bytes));
    });
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
    const { port } = tcp.address() as AddressInfo;
    udp = createSocket("udp4");
    await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", resolve));
    udp.on("message", (bytes, from) => asked.push({ from, bytes: toHex(bytes) }));
    path = createDirectPath({
      openSockets: (onOutcome) => openQuerySockets({ kernel, way: {}, onOutcome }),
      ...{ openTcp: plainTcp, doh: noDoh, port },
      onResult(token, result) {
        results.push([token, result.kind === "message" ? toHex(result.message) : result.reason]);
        told();
      },
    });
  });
  afterEach(() => {
    path.close();
    udp.close();
    tcp.close();
  });

  const until = (count: number): Promise<void> =>
    new Promise((resolve) => {
      told = () => results.length >= count && resolve();
      told();
    });

  it("DN-61: each UDP query has a port of its own, and hears what comes to it until it is done", async () => {
    udp.on("message", (bytes, { port, address }) => {
      udp.send(bytes, port, address);
      udp.send(Buffer.concat([bytes, Buffer.from([255])]), port, address);
    });
    path.send(query(1));
    path.send(query(2));
    await until(4);
    expect([...results].sort()).toEqual([
      [1, "01020301"],
      [1, "01020301ff"],
      [2, "01020302"],
      [2, "01020302ff"],
    ]);
    expect(new Set(asked.map(({ from }) => from.port)).size).toBe(2);
    path.done(1);
    const [first] = asked;
    if (first === undefined) throw new Error("asked");
    udp.send("late", first.from.port, "127.0.0.1");
    path.send(query(3));
    await until(6);
    expect(results.filter(([token]) => token === 1)).toHaveLength(2);
  });

  it("DN-64: a port that is closed is said at once", async () => {
    path.send(query(7, { upstream: { kind: "do53", server: { address: ip("127.0.0.9") } } }));
    await until(1);
    expect(results).toEqual([[7, "ECONNREFUSED"]]);
  });

  it("DN-64: a family that the host does not have is a failure, not an end", async () => {
    path.send(
      query(8, {
        upstream: { kind: "do53", server: { address: ip("0.0.0.0"), scope: 1 } },
        message: new Uint8Array(70_000),
      }),
    );
    await until(1);
    expect(results[0]?.[0]).toBe(8);
    expect(results[0]?.[1]).not.toBe("");
  });

  it("DN-65: over TCP the length stands in front, in whatever pieces it comes", async () => {
    answerTcp = (peer, bytes) => {
      peer.write(bytes.subarray(0, 1));
      setImmediate(() => peer.write(bytes.subarray(1)));
    };
    path.send(query(1, { transport: "tcp" }));
    await until(1);
    expect(results).toEqual([[1, "01020301"]]);
  });

  it.each([
    ["an end", (peer: import("node:net").Socket) => peer.end()],
    ["a length of 0", (peer: import("node:net").Socket) => peer.write(Buffer.from([0, 0]))],
  ])("DN-65: %s is a failure", async (_, answer) => {
    answerTcp = answer;
    path.send(query(1, { transport: "tcp" }));
    await until(1);
    expect(results).toEqual([[1, "the server closed the connection"]]);
  });

  it("DN-65: who is done with a stream hears no more of it", async () => {
    const isAsked = new Promise<void>((resolve) => {
      answerTcp = () => resolve();
    });
    path.send(query(1, { transport: "tcp" }));
    await isAsked;
    path.done(1);
    answerTcp = (peer, bytes) => peer.write(bytes);
    path.send(query(2, { transport: "tcp" }));
    await until(1);
    expect(results).toEqual([[2, "01020302"]]);
  });

  it("DN-71: what DoH says of its failure is the reason", async () => {
    path.send(query(5, { upstream: { kind: "doh", url: "https://dns.example/" }, transport: "doh" }));
    await until(1);
    expect(results).toEqual([[5, "no DoH here"]]);
  });
});
