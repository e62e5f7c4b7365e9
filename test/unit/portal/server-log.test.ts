import { describe, expect, it } from "vitest";
import { ip, type Log, type LogFields, SILENT } from "../../../src/base/index.ts";
import { EMPTY_STATE } from "../../../src/portal/server/index.ts";
import { createFlow, createWorld, OFFICE, ridOf, TOKENS } from "./server-world.ts";

const ALICE =
  "actors: [{ name: Alice, type: user, tokens: [{ name: laptop, env: ALICE, expires_at: 2026-01-27T11:00:00Z }] }]\n";

function logged(text = OFFICE) {
  const lines: { readonly event: string; readonly fields: LogFields }[] = [];
  const info = (event: string, fields: LogFields = {}): void => void lines.push({ event, fields });
  const log: Log = { ...SILENT, info, warn: info };
  const world = createWorld(text, EMPTY_STATE, {}, log);
  return { world, lines, of: (event: string) => lines.filter((line) => line.event === event) };
}

describe("the portal's log", () => {
  it.each([
    ["unknown", { token: TOKENS.bob }],
    ["not-a-token", { token: "junk" }],
    ["wrong-kind", { token: TOKENS.gateway }],
    ["expired", { token: TOKENS.alice }],
    ["no-token", { headers: { "x-authorization": undefined } }],
  ])("PT-79: a refused token is named as %s, with the address and without the token", (why, identity) => {
    const { world, lines, of } = logged(`${OFFICE}${ALICE}`);
    world.upgrade("client", { remote: ip("192.0.2.9"), ...identity });
    expect(of("peer refused")).toMatchObject([
      { fields: { address: "192.0.2.9", status: 401, why, path: "/client/websocket" } },
    ]);
    expect(JSON.stringify(lines)).not.toContain("token" in identity ? identity.token : "ptc_");
  });

  it("PT-79: a token that is known is called by its name", () => {
    const { world, of } = logged(`${OFFICE}${ALICE}`);
    world.upgrade("client", { token: TOKENS.alice });
    expect(of("peer refused")).toMatchObject([{ fields: { token: "laptop", why: "expired" } }]);
  });

  it("PT-194: devices, gateways, actors, sites and resources are named beside their ids", () => {
    const { world, of } = logged();
    const gateway = world.gateway({ id: "gw-1" });
    const client = world.client({ id: "laptop-1" });
    expect(of("peer joined").map(({ fields }) => fields)).toMatchObject([
      { kind: "gateway", name: "gw-1", externalId: "gw-1", site: "default", gid: expect.any(String) },
      { kind: "client", name: "laptop-1", externalId: "laptop-1", actor: "dev", cid: expect.any(String) },
    ]);
    client.send(createFlow(ridOf(client)));
    gateway.answer();
    const names = { client: "laptop-1", actor: "dev", gateway: "gw-1", resource: "Office" };
    expect(of("access granted")).toMatchObject([{ fields: names }]);
    world.reload("version: 1\n");
    expect(of("access revoked")).toMatchObject([{ fields: { client: "laptop-1", gateway: "gw-1" } }]);
    client.close();
    expect(of("peer left")).toMatchObject([{ fields: { name: "laptop-1" } }]);
  });

  it("PT-56: why access was refused is said once, until it is granted or the reason is another", () => {
    const { world, of } = logged();
    const client = world.client();
    for (let n = 0; n < 5; n++) client.send(createFlow(ridOf(client)));
    expect(of("access refused")).toMatchObject([{ fields: { reason: "offline", resource: "Office" } }]);
    const gateway = world.gateway();
    client.send(createFlow(ridOf(client)));
    gateway.answer();
    gateway.close();
    client.send(createFlow(ridOf(client)));
    expect(of("access refused")).toHaveLength(2);
    client.send(createFlow("00000000-0000-4000-8000-000000000000"));
    expect(of("access refused")).toHaveLength(2);
  });
});
