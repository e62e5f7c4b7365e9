/** Clients that all number their names from the same proxy address, at one gateway that does not masquerade. */
import { join } from "node:path";
import { expect } from "vitest";
import type { Namespace } from "../../src/program/lab/index.ts";
import { type NameOffice, SENTINEL, startNameOffice } from "./name-office.ts";
import { tunnelAddresses } from "./observe.ts";
import type { Office } from "./office.ts";

/** Of each client, of the first name that it asks for. */
const PROXY = "100.96.0.1";
/** The same at all clients: nothing but the peer tells their packets apart. Another for each round. */
const LOCAL_PORT = 41_000;
const BYTES = 300_000;
const NEW_CONNECTIONS = join(import.meta.dirname, "new-connections.mjs");
const TELL_PORT = "81";
/** Connections of each client at a time, and the port of its first one. */
const AT_ONCE = "8";
const FIRST_PORT = "10000";

export interface ManyClients {
  readonly names: NameOffice;
  readonly clients: readonly Namespace[];
  /** Each client fetches from its own server, all at the same time. */
  fetchApart(round: number): Promise<void>;
  /** All of them open connections to their own servers as fast as they can, each to all four proxy addresses. */
  openApart(seconds: number): Promise<OpenedApart>;
}

export interface OpenedApart {
  readonly perSecond: number;
  /** Of the client that waited longest: from the first packet to the server's word. */
  readonly medianMs: number;
  readonly lateMs: number;
}

/** What `new-connections.mjs` says. */
interface Opened extends Omit<OpenedApart, "perSecond"> {
  readonly proxies: readonly string[];
  readonly opened: number;
  readonly said: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
}

/** Client `i` has the name `own-i.lab.example`, at 172.20.1.`i`. */
export async function startManyClients(
  keep: (office: Office) => void,
  count: number,
  records: readonly string[] = [],
): Promise<ManyClients> {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  const names = await startNameOffice(keep, {
    site: [...numbers.map((i) => `own-${i}.lab.example. 60 IN A 172.20.1.${i}`), ...records],
    gatewayArgs: ["--masquerade", "off"],
  });
  const { office } = names;
  await office.gateway.sysctl("net/ipv4/ip_forward", "1");
  await office.resource.ip(
    "route add 100.64.0.0/11 via 172.20.0.1",
    ...numbers.map((i) => `addr add 172.20.1.${i}/16 dev lan`),
  );
  const server = office.traffic(office.resource, "serve", "80");
  await server.waitForLine(/^serving /, { withinMs: 10_000 });
  const clients: Namespace[] = [office.client];
  for (const i of numbers.slice(1)) clients.push(await addClient(office, i));
  return {
    ...{ names, clients },
    fetchApart: (round) => fetchApart(names, clients, String(LOCAL_PORT + round)),
    openApart: (seconds) => openApart(names, clients, seconds),
  };
}

async function addClient(office: Office, i: number): Promise<Namespace> {
  const where = await office.lab.add(`client-${i}`);
  await office.lab.connect(
    { namespace: where, device: "wan", addresses: [`10.40.${i}.2/24`] },
    { namespace: office.router, device: `client${i}`, addresses: [`10.40.${i}.1/24`] },
  );
  await where.ip(`route add default via 10.40.${i}.1`);
  await office.startClientAt(where, `lab-client-${i}`);
  office.useNameServer(where, SENTINEL);
  return where;
}

async function fetchApart(names: NameOffice, clients: readonly Namespace[], port: string): Promise<void> {
  const format = "%{remote_ip} %{local_port} %header{x-served-at} %header{x-seen-from} %{size_download}";
  const said = await Promise.all(
    clients.map((where, i) => {
      const args = ["--silent", "--show-error", "--max-time", "25", "--local-port", port, "-4"];
      const url = `http://own-${i + 1}.lab.example/${BYTES}`;
      return names.runAt(where, "curl", ...args, "--output", "/dev/null", "--write-out", format, url);
    }),
  );
  const own = await Promise.all(clients.map(async (where) => (await tunnelAddresses(where))[0]));
  for (const [i, { stdout, stderr }] of said.entries()) {
    const expected = [PROXY, port, `::ffff:172.20.1.${i + 1}`, `::ffff:${own[i]}`, String(BYTES)];
    expect(stdout.split(" "), `client ${i + 1}: ${stderr}`).toEqual(expected);
  }
}

async function openApart(
  names: NameOffice,
  clients: readonly Namespace[],
  seconds: number,
): Promise<OpenedApart> {
  const args = [NEW_CONNECTIONS, "tell", TELL_PORT];
  const server = names.office.resource.start({ name: "tell", command: "node", args });
  await server.waitForLine(/^listening$/, { withinMs: 10_000, stream: "stdout" });
  const said = await Promise.all(
    clients.map(async (where, i) => {
      const args = [`own-${i + 1}.lab.example`, TELL_PORT, String(seconds), AT_ONCE, FIRST_PORT];
      const { stdout, stderr } = await names.runAt(where, "node", NEW_CONNECTIONS, "open", ...args);
      expect(stdout, stderr).not.toBe("");
      return JSON.parse(stdout) as Opened;
    }),
  );
  await server.stop();
  const own = await Promise.all(clients.map(async (where) => (await tunnelAddresses(where))[0]));
  for (const [i, one] of said.entries()) {
    const { opened, proxies } = one;
    expect(proxies).toEqual([1, 2, 3, 4].map((last) => `100.96.0.${last}`));
    const there = `::ffff:172.20.1.${i + 1} ::ffff:${own[i]}`;
    expect(one, `client ${i + 1}`).toMatchObject({ said: { [there]: opened }, failed: {} });
    expect(Object.keys(one.said)).toEqual([there]);
    expect(one.failed).toEqual({});
  }
  return {
    perSecond: Math.round(said.reduce((sum, { opened }) => sum + opened, 0) / seconds),
    medianMs: Math.max(...said.map(({ medianMs }) => medianMs)),
    lateMs: Math.max(...said.map(({ lateMs }) => lateMs)),
  };
}
