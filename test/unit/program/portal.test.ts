import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { PortalOptions } from "../../../src/program/options.ts";
import { connectPeer, startPortal, type TestPortal } from "./portal-peer.ts";

const OFFICE = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;

const running: TestPortal[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const portal of running.splice(0)) await portal.stop();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

async function portalWith(file: string, options: Partial<PortalOptions> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "postern-portal-"));
  folders.push(folder);
  const path = join(folder, "portal.yaml");
  writeFileSync(path, file);
  const portal = await startPortal({ config: path, ...options });
  running.push(portal);
  return { portal, path, folder };
}

describe("postern portal --dev", () => {
  it("PT-85: lets a client reach a resource through a gateway, step by step", async () => {
    const { portal } = await portalWith(OFFICE);
    const gateway = await connectPeer(portal.url, { role: "gateway", token: portal.tokens.gateway });
    const gatewayInit = (await gateway.next("init")).payload;
    expect(gatewayInit).toMatchObject({ account_slug: "dev", relays: [], authorizations: [] });
    const client = await connectPeer(portal.url, { role: "client", token: portal.tokens.client });
    const init = (await client.next("init")).payload;
    expect(init.resources).toMatchObject([
      { type: "cidr", name: "Office", address: "172.20.0.0/16", filters: [] },
    ]);
    const rid = init.resources[0].id;

    client.send("create_flow", { resource_id: rid, connected_gateway_ids: [] });
    const authorize = (await gateway.next("authorize_flow")).payload;
    expect(authorize).toMatchObject({
      resource: { type: "cidr", id: rid, address: "172.20.0.0/16", filters: [] },
      client: { ipv4: init.interface.ipv4, ipv6: init.interface.ipv6, version: "1.5.0" },
      expires_at: null,
    });
    gateway.send("flow_authorized", { ref: authorize.ref });
    expect((await gateway.next("phx_reply")).payload.status).toBe("ok");
    const flow = (await client.next("flow_created")).payload;
    expect(flow).toMatchObject({
      resource_id: rid,
      gateway_ipv4: gatewayInit.interface.ipv4,
      preshared_key: authorize.client.preshared_key,
      client_ice_credentials: authorize.client_ice_credentials,
      gateway_ice_credentials: authorize.gateway_ice_credentials,
    });

    client.send("broadcast_ice_candidates", { gateway_ids: [flow.gateway_id], candidates: ["candidate:a"] });
    expect((await gateway.next("ice_candidates")).payload).toEqual({
      client_id: authorize.client.id,
      candidates: ["candidate:a"],
    });
    gateway.send("broadcast_ice_candidates", {
      client_ids: [authorize.client.id],
      candidates: ["candidate:b"],
    });
    expect((await client.next("ice_candidates")).payload).toEqual({
      gateway_id: flow.gateway_id,
      candidates: ["candidate:b"],
    });
  });
});
