/**
 * An office whose names are served by unbound, and a name server of the world outside; programs on the client ask
 * the sentinel, as if it were the host's only name server.
 */
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { type NameServer, startNameServer } from "./name-server.ts";
import { type Configuration, createOffice, OFFICE_V4, type Office } from "./office.ts";

export const SENTINEL = "100.100.111.1";
/** The client's router. */
export const WORLD_SERVER = "10.30.0.1";
/** Names without filters. */
export const LAB = { name: "Lab", address: "*.lab.example" } as const;

export interface NameOffice {
  readonly office: Office;
  /** What the gateway asks. */
  readonly site: NameServer;
  /** What is asked for names that no resource has. */
  readonly world: NameServer;
  readonly portal: Child;
  readonly gateway: Child;
  readonly client: Child;
  /** Runs a program on the client, or on another machine, to its end. */
  run(command: string, ...args: readonly string[]): Promise<Ended>;
  runAt(where: Namespace, command: string, ...args: readonly string[]): Promise<Ended>;
}

export interface Ended {
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface NameOfficeOptions extends Configuration {
  /** Of the site, as in `startNameServer`. */
  readonly site: readonly string[];
  readonly world?: readonly string[];
  readonly clientArgs?: readonly string[];
  readonly gatewayArgs?: readonly string[];
}

/** @param keep is called as soon as there is something to close */
export async function startNameOffice(
  keep: (office: Office) => void,
  { site, world = [], clientArgs = [], gatewayArgs = [], names = [LAB], ...configuration }: NameOfficeOptions,
): Promise<NameOffice> {
  const office = await createOffice();
  keep(office);
  office.configure([{ resource: "Wiki" }, { resource: "Vault" }], { names, ...configuration });
  office.useNameServer(office.gateway, OFFICE_V4);
  office.useNameServer(office.client, WORLD_SERVER);
  const [portal, siteServer, worldServer] = await Promise.all([
    office.startPortal(),
    startNameServer(office.resource, { listen: [OFFICE_V4], records: site }),
    startNameServer(office.router, { listen: [WORLD_SERVER], records: world }),
  ]);
  const [gateway, client] = await Promise.all([
    office.startGateway(...gatewayArgs),
    office.startClient(...clientArgs),
  ]);
  if (clientArgs.length === 0) office.useNameServer(office.client, SENTINEL);
  const runAt: NameOffice["runAt"] = async (where, command, ...args) => {
    const child = office.program(where, command, ...args);
    const { status } = await child.wait(30_000);
    return { status, stdout: child.stdout(), stderr: child.stderr() };
  };
  return {
    office,
    site: siteServer,
    world: worldServer,
    portal,
    gateway,
    client,
    run: (...command) => runAt(office.client, ...command),
    runAt,
  };
}
