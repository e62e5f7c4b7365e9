import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { bindTcp, openKernel, startTcp } from "../../../../bindings/linux/index.ts";
import { ip } from "../../../../src/base/index.ts";

const LOOPBACK = ip("127.0.0.1");
/** More than both ends' kernels take together. */
const MUCH = Buffer.alloc(32 << 20);
/** `NOT_SENT_BYTES_MAX`, and the segment that goes beyond it. */
const HELD_MAX = (128 << 10) + (64 << 10);

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

/** Octets that the kernel has taken from this end, and not sent. */
function notSent(socket: Socket): number {
  const filter = ["sport", "=", `:${socket.localPort}`, "and", "dport", "=", `:${socket.remotePort}`];
  const text = execFileSync("ss", ["-tinH", ...filter], { timeout: 60_000, encoding: "utf8" });
  return Number(/notsent:(\d+)/.exec(text)?.[1] ?? 0);
}

async function listen(fd: number): Promise<{ readonly port: number; readonly accepted: Promise<Socket> }> {
  const server = createServer({ pauseOnConnect: true });
  ends.push(() => server.close());
  const accepted = once(server, "connection").then(([socket]) => {
    ends.push(() => socket.destroy());
    return socket as Socket;
  });
  server.listen({ fd });
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, accepted };
}

/** Writes until the kernel takes no more. */
async function fill(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  socket.write(MUCH);
  let before = -1;
  while (notSent(socket) !== before) {
    before = notSent(socket);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("RL-204: TCP whose far end does not read", () => {
  it("holds little back at the end that connects", async () => {
    const kernel = openKernel();
    const { port } = await listen(bindTcp(kernel, { address: LOOPBACK, port: 0 }));
    const attempt = startTcp(kernel, { address: LOOPBACK, port }, {});
    await expect.poll(() => attempt.result()).toBe(0);
    const socket = new Socket({ fd: attempt.fd });
    ends.push(() => socket.destroy());
    await fill(socket);
    expect(notSent(socket)).toBeGreaterThan(0);
    expect(notSent(socket)).toBeLessThanOrEqual(HELD_MAX);
  });

  it("holds little back at the end that listens", async () => {
    const { port, accepted } = await listen(bindTcp(openKernel(), { address: LOOPBACK, port: 0 }));
    const client = connect(port, "127.0.0.1").pause();
    ends.push(() => client.destroy());
    const socket = await accepted;
    await fill(socket);
    expect(notSent(socket)).toBeGreaterThan(0);
    expect(notSent(socket)).toBeLessThanOrEqual(HELD_MAX);
  });
});

it("names the address that another program listens on", async () => {
  const { port } = await listen(bindTcp(openKernel(), { address: LOOPBACK, port: 0 }));
  const again = () => bindTcp(openKernel(), { address: LOOPBACK, port });
  expect(again).toThrow(expect.objectContaining({ code: "address-in-use" }));
  expect(again).toThrow(`127.0.0.1:${port}`);
});
