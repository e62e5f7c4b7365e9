/** The portal over real sockets, with peers and strangers that mean harm. */
import { once } from "node:events";
import { get, ServerResponse } from "node:http";
import { afterEach, describe, expect, it, vi } from "vitest";
import { connectPeer, openSocket, startPortal, type TestPortal } from "./portal-peer.ts";

const running: TestPortal[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const portal of running.splice(0)) await portal.stop();
});

async function devPortal(): Promise<TestPortal> {
  const portal = await startPortal();
  running.push(portal);
  return portal;
}

describe("one peer's input", () => {
  it("PT-7: a join and a frame of 6,000 levels in one write leave the others connected", async () => {
    const portal = await devPortal();
    const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway });
    const socket = openSocket(portal.url, { role: "client", token: portal.tokens.client, id: "new" });
    await once(socket, "open");
    const deep = `${"[".repeat(6_000)}${"]".repeat(6_000)}`;
    const answers: string[] = [];
    socket.on("message", (data) => answers.push(JSON.parse(data.toString()).event));
    socket.send('{"topic":"client","event":"phx_join","payload":{},"ref":0}');
    socket.send(`{"topic":"client","event":"x","payload":${deep},"ref":1}`);
    await vi.waitFor(() => expect(answers).toEqual(["phx_reply", "init"]), 5_000);
    gateway.send("heartbeat", {}, 9, "phoenix");
    expect(await gateway.next("phx_reply")).toMatchObject({ ref: 9 });
    socket.close();
  });
});

describe("a defect of ours", () => {
  it("PG-18: in reading an upgrade or a request ends that one only", async () => {
    const portal = await devPortal();
    const client = await connectPeer(portal.url, { role: "client", token: portal.tokens.client });
    const defect = function defect() {
      throw new Error("defect");
    };
    const socket = openSocket(portal.url, { role: "client", token: portal.tokens.client, id: "new" });
    vi.spyOn(globalThis, "URLSearchParams").mockImplementationOnce(defect);
    const [error] = await once(socket, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
    vi.spyOn(ServerResponse.prototype, "writeHead").mockImplementationOnce(defect);
    const request = get(portal.url.replace("ws:", "http:"));
    await expect(once(request, "response")).rejects.toThrow();
    client.send("heartbeat", {}, 9, "phoenix");
    expect(await client.next("phx_reply")).toMatchObject({ ref: 9 });
  });
});
