/**
 * Portal, gateway and client in this process, on loopback: no root, no namespace, no device (PG-122).
 *
 *     const office = await openEmbeddedOffice({ onFlow: (flow) => … });
 *     const socket = await office.client.dial({ host: SERVER, port: 80 });
 *
 * With own sockets the library is the one that was built: threads cannot load sources.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client, Gateway, GatewayOptions, Portal } from "../../src/index.ts";
import * as sources from "../../src/index.ts";

/** In a network that is a resource. */
export const SERVER = "10.77.0.9";
/** Of a resource by name. */
export const WIKI = "wiki.corp.example";
/** Of a resource with a filter for TCP port 80. */
export const FILTERED = "10.78.0.9";

const RESOURCES = `
version: 1
resources:
  - { name: Office, type: cidr, address: 10.77.0.0/16, site: default }
  - { name: Filtered, type: cidr, address: 10.78.0.0/16, site: default, filters: [{ protocol: tcp, ports: ["80"] }] }
  - { name: Wiki, type: dns, address: "*.corp.example", site: default }
`;
const GRANTS = ["Office", "Filtered", "Wiki"] as const;

export interface EmbeddedOffice {
  readonly portal: Portal;
  readonly gateway: Gateway;
  readonly client: Client;
  /** What clients are granted from now on. */
  grant(resources: readonly (typeof GRANTS)[number][]): void;
  close(): Promise<void>;
}

export type Grade = "fast" | "plain";
export const GRADES = ["plain", "fast"] as const;

export interface EmbeddedOptions extends Pick<GatewayOptions, "onFlow" | "resolver" | "log" | "flowLogs"> {
  readonly hasGateway?: boolean;
  /** Of both ends; default `plain`. */
  readonly sockets?: Grade;
}

/** What a grade can run as. */
export async function libraryFor(sockets: Grade): Promise<typeof sources> {
  return sockets === "plain"
    ? sources
    : await import(new URL("../../build/src/index.js", import.meta.url).href);
}

const ON_LOOPBACK = { addresses: ["127.0.0.1"] } as const;

export async function openEmbeddedOffice({
  hasGateway = true,
  sockets = "plain",
  ...options
}: EmbeddedOptions = {}): Promise<EmbeddedOffice> {
  const folder = mkdtempSync(join(tmpdir(), "postern-embedded-"));
  const config = join(folder, "portal.yaml");
  const grant = (granted: readonly string[]): void => {
    const policies = granted.map((resource) => `{ group: dev, resource: ${resource} }`);
    writeFileSync(config, `${RESOURCES}policies: [${policies.join(", ")}]\n`);
  };
  grant(GRANTS);
  const { connectClient, startGateway, startPortal } = await libraryFor(sockets);
  const portal = await startPortal({ dev: true, config, listen: "127.0.0.1:0" });
  const { apiUrl, tokens } = portal;
  if (apiUrl === undefined || tokens === undefined) throw new Error("a portal for trying out has tokens");
  const gateway = await startGateway({
    apiUrl,
    token: tokens.gateway,
    id: "gateway",
    ...{ ...ON_LOOPBACK, sockets },
    ...options,
  });
  if (!hasGateway) await gateway.close();
  const client = await connectClient({ apiUrl, token: tokens.client, id: "client", ...ON_LOOPBACK, sockets });
  return {
    ...{ portal, gateway, client, grant },
    async close() {
      await client.close();
      await gateway.close();
      await portal.close();
      rmSync(folder, { recursive: true });
    },
  };
}
