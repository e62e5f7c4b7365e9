/** Whoever begins a request and never ends it (PG-85, PT-72). All wait at once, since the limits are 10 s. */
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { SILENT } from "../../../src/base/index.ts";
import { openHttpService } from "../../../src/program/http-service.ts";
import { startPortal } from "./portal-peer.ts";

const HALF = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
/** Clocks of the system and of the loop differ a little. */
const LIMIT_MS_MIN = 9_000;
const timeout = 60_000;

/** How long a connection lives on which half a request comes, while others are answered. */
async function lifeOfHalf(port: number): Promise<number> {
  const startedAt = performance.now();
  const socket = connect(port, "127.0.0.1", () => socket.write(HALF));
  socket.on("error", () => undefined);
  const closed = once(socket.resume(), "close");
  await once(socket, "connect");
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  await closed;
  return performance.now() - startedAt;
}

describe.concurrent("an unfinished request ends after 10 s, and holds up nobody", () => {
  it("PG-85: of the health service", { timeout }, async ({ onTestFinished }) => {
    const address = { address: new Uint8Array([127, 0, 0, 1]), port: 0 };
    const service = await openHttpService(
      "--health-addr",
      address,
      { "/healthz": () => ({ body: "ok" }) },
      SILENT,
    );
    onTestFinished(() => service.close());
    expect(await lifeOfHalf(service.address.port)).toBeGreaterThan(LIMIT_MS_MIN);
  });

  it("PT-72: of the portal", { timeout }, async ({ onTestFinished }) => {
    const portal = await startPortal();
    onTestFinished(async () => void (await portal.stop()));
    expect(await lifeOfHalf(Number(new URL(portal.url).port))).toBeGreaterThan(LIMIT_MS_MIN);
  });
});
