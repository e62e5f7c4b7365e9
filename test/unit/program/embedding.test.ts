import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  formatIp,
  type Instant,
  instant,
  ip,
  SILENT,
  type SocketAddress,
  secret,
} from "../../../src/base/index.ts";
import { parsePortalUrl } from "../../../src/portal/protocol/index.ts";
import { clientRole } from "../../../src/program/client/client-role.ts";
import type { PeerMachine, TunnelRole } from "../../../src/program/endpoint/role.ts";
import type { Surroundings } from "../../../src/program/endpoint/surroundings.ts";
import { createTunnel } from "../../../src/program/endpoint/tunnel.ts";
import { gatewayRole } from "../../../src/program/gateway/gateway-role.ts";
import { plainTcp } from "../../../src/program/portal-socket.ts";
import type { TunnelInterface } from "../../../src/tunnel/index.ts";
import { createPolledPlane } from "../../twin/polled-plane.ts";
import { startPortal } from "./portal-peer.ts";

const LOOPBACK = ip("127.0.0.1");
const SETTINGS = { maxPartitionTime: undefined, caFile: undefined };
const OFFICE = `version: 1
resources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]
policies: [{ group: dev, resource: Office }]
`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function openUdp(): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  ends.push(() => socket.close());
  return socket;
}

function taken<T>(next: () => T | undefined, limit: number): readonly T[] {
  const items: T[] = [];
  while (items.length < limit) {
    const item = next();
    if (item === undefined) break;
    items.push(item);
  }
  return items;
}

const start = performance.now();
const now = (): Instant => instant(Math.floor(performance.now() - start) + 1_000);

interface Embedded {
  readonly delivered: Uint8Array[];
  readonly interfaces: TunnelInterface[];
  readonly surroundings: Surroundings;
  send(packet: Uint8Array): void;
}

/** Surroundings without TUN device, workers or privileges: a plane in process, and one UDP socket. */
function surround(mode: "client" | "gateway", socket: Socket, own: SocketAddress): Embedded {
  const plane = createPolledPlane("WebAssembly", { mode });
  const delivered: Uint8Array[] = [];
  const interfaces: TunnelInterface[] = [];
  let wake = (): void => {};

  function transmit({ destination, bytes }: { destination: SocketAddress; bytes: Uint8Array }): void {
    socket.send(bytes, destination.port, formatIp(destination.address));
  }

  /** What the workers' loops do on a host. */
  function carry(): void {
    for (const sent of taken(plane.pollTransmit, 1000)) transmit(sent);
    delivered.push(...taken(plane.pollPacket, 1000));
    queueMicrotask(() => wake());
  }

  socket.on("message", (bytes, { address, port }) => {
    plane.handleDatagram(now(), { bytes, from: { address: ip(address), port }, local: own });
    carry();
  });
  return {
    delivered,
    interfaces,
    send(packet) {
      plane.sendPacket(now(), packet);
      carry();
    },
    surroundings: {
      plane: {
        records: plane.records,
        flows: plane.flows,
        execute(command) {
          plane.execute(now(), command);
          carry();
        },
        publish: plane.publish,
        published: plane.published,
        releaseFlows: plane.releaseFlows,
        // Whatever comes wakes the loop, and is less than a turn's worth.
        hasInput: () => false,
        takeEvents: (limit) => taken(plane.pollEvent, limit),
        takePunts: (limit) => taken(plane.pollPunt, limit),
        onWake(listener) {
          wake = listener;
          return () => {
            wake = () => {};
          };
        },
      },
      now,
      send(datagram) {
        transmit(datagram);
        return "done";
      },
      deliver: (packet) => delivered.push(packet),
      openTcp: plainTcp,
      applyInterface: (wanted) => interfaces.push(wanted),
      changePeers: () => {},
    },
  };
}

async function embed<Machine extends PeerMachine>(role: TunnelRole<Machine>, url: string, token: string) {
  const socket = await openUdp();
  const parsed = parsePortalUrl(url);
  if (!parsed.ok) throw new Error(parsed.reason);
  const own: SocketAddress = { address: LOOPBACK, port: socket.address().port };
  const embedded = surround(role.name, socket, own);
  const failures: unknown[] = [];
  const { shell, machine, wiring } = createTunnel({
    role,
    surroundings: embedded.surroundings,
    url: parsed.value,
    token: secret(token),
    login: { externalId: `embedded-${role.name}`, name: role.name },
    fail: (error) => failures.push(error),
    log: SILENT,
  });
  shell.input((at) => machine.handleOwnAddresses(at, [own]));
  wiring.connect();
  ends.push(async () => {
    shell.stop();
    await wiring.close();
  });
  return { ...embedded, failures };
}

async function until(condition: () => boolean, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error("did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** IPv4 with protocol 253. */
function packet(source: Uint8Array, destination: Uint8Array, number: number): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes.set([0x45, 0, 0, bytes.length, 0, 0, 0, 0, 64, 253]);
  bytes.set(source, 12);
  bytes.set(destination, 16);
  bytes[23] = number;
  return bytes;
}

describe("client and gateway embedded, without a TUN device", () => {
  it("PG-180: packets pass between them through a portal and UDP on the loopback interface", async () => {
    const folder = mkdtempSync(join(tmpdir(), "postern-"));
    ends.push(() => rmSync(folder, { recursive: true }));
    const config = join(folder, "office.yaml");
    writeFileSync(config, OFFICE);
    const portal = await startPortal({ config });
    ends.push(() => portal.stop());
    const gateway = await embed(
      gatewayRole(SETTINGS, { isHostOpen: false, isLinkLocalAllowed: false }),
      portal.url,
      portal.tokens.gateway,
    );
    await until(() => gateway.interfaces.length > 0);
    const client = await embed(
      clientRole(SETTINGS, { isInternetOn: false }),
      portal.url,
      portal.tokens.client,
    );
    await until(() => (client.interfaces.at(-1)?.routes.length ?? 0) > 6);
    const own = client.interfaces.at(-1)?.addresses[0] ?? LOOPBACK;
    const server = ip("172.20.0.9");
    client.send(packet(own, server, 1));
    await until(() => gateway.delivered.length > 0);
    gateway.send(packet(server, own, 2));
    await until(() => client.delivered.length > 0);
    expect(gateway.delivered.map((bytes) => bytes[23])).toEqual([1]);
    expect(client.delivered.map((bytes) => bytes[23])).toEqual([2]);
    expect([client.failures, gateway.failures]).toEqual([[], []]);
  });
});
