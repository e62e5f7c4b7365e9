/** 16 clients that use the same proxy addresses for names of their own never mix (TN-65, TN-67, TN-74). */
import { expect, it } from "vitest";
import {
  after,
  createSeededRandom,
  type Instant,
  type IpAddress,
  ip,
  randomBelow,
} from "../../../src/base/index.ts";
import type { Connections } from "../../../src/connections/index.ts";
import { encodeAssignedIps, encodeUdp, isControlEvent, viewPacket } from "../../../src/packet/index.ts";
import { createTunnelGateway, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import { CREDENTIALS, createLoneFlows, createLoneTunnel, RID, START, UNIX_START } from "./lone-tunnel.ts";

const CLIENTS = 16;
const PER_SECOND = 1_000;
const SECONDS = 4;
const PROXIES = [1, 2, 3, 4].map((last) => ip(`100.96.0.${last}`));
/** All names lead to some of these: different clients' to the same addresses as well. */
const REALS = [7, 8, 9].map((last) => ip(`198.51.100.${last}`));

const cidOf = (n: number) => `00000000-0000-4000-8000-0000000001${String(n).padStart(2, "0")}`;
const addressOf = (n: number) => ip(`100.64.1.${n + 1}`);
const udp = (source: IpAddress, from: number, destination: IpAddress, to: number, mark: Uint8Array) => {
  const made = encodeUdp({ address: source, port: from }, { address: destination, port: to }, mark);
  if (!made.ok) throw new Error(made.reason);
  return made.value;
};

function createGateway() {
  const sent: { readonly id: string; readonly packet: Uint8Array }[] = [];
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) => {
      const spied: Connections = {
        ...connections,
        sendPacket(now, id, packet) {
          if (!isControlEvent(packet)) sent.push({ id, packet });
          return connections.sendPacket(now, id, packet);
        },
      };
      const clocks = { now: START, unixNow: UNIX_START };
      return createTunnelGateway({
        connections: spied,
        flows: createLoneFlows(),
        ...clocks,
        isHostOpen: false,
      });
    },
  );
  lone.apply((gateway) =>
    gateway.handlePortalMessage(START, {
      kind: "init",
      interface: { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") },
      relays: [],
      authorizations: [],
    }),
  );
  for (let n = 0; n < CLIENTS; n++) {
    lone.apply((gateway) =>
      gateway.handlePortalMessage(START, {
        kind: "authorize-flow",
        ref: cidOf(n),
        resource: { kind: "dns", rid: RID, name: "wiki", address: "*.example.com", filters: [] },
        client: {
          ...{ cid: cidOf(n), ipv4: addressOf(n), ipv6: ip(`fd00:2021:1111::1:${n + 1}`), device: {} },
          publicKey: new Uint8Array(32).fill(n + 1),
          presharedKey: new Uint8Array(32),
        },
        clientCredentials: CREDENTIALS.client,
        gatewayCredentials: CREDENTIALS.gateway,
        subject: {},
      }),
    );
    const slot = lone.connections.slotOf(cidOf(n)) ?? -1;
    const packet = encodeAssignedIps({ rid: RID, domain: `n${n}.example.com`, proxies: PROXIES });
    lone.apply((gateway) => gateway.handlePunt(START, { reason: "control-event", slot, packet }));
    const query = lone.events
      .flatMap((event) => (event.kind === "resolve-setup" ? [event.query] : []))
      .at(-1);
    // A name each, whose addresses are those of a neighbour's name, too.
    const addresses = [REALS[n % 3], REALS[(n + 1) % 3]].flatMap((real) => real ?? []);
    lone.apply((gateway) =>
      gateway.handleSetupResult(START, query?.token ?? 0, { kind: "addresses", addresses }),
    );
  }
  lone.commands.length = 0;
  return { lone, sent };
}

it("TN-65, TN-67: at 1,000 connections a second each answer finds its client and its proxy address", () => {
  const { lone, sent } = createGateway();
  const random = createSeededRandom(7);
  const below = (limit: number) => randomBelow(random, limit);
  const slots = Array.from({ length: CLIENTS }, (_, n) => lone.connections.slotOf(cidOf(n)) ?? -1);
  const outside = new Map<string, number>();
  for (let i = 0; i < PER_SECOND * SECONDS; i++) {
    const now = after(START, (i * 1000) / PER_SECOND) as Instant;
    const n = below(CLIENTS);
    const proxy = PROXIES[below(PROXIES.length)] ?? REALS[0] ?? addressOf(n);
    // Few ports: clients use the same ones, and each uses one for several proxies.
    const port = 40_000 + below(200);
    const mark = Uint8Array.of(n, i >> 8, i & 255);
    const out = udp(addressOf(n), port, proxy, 53, mark);
    lone.apply((gateway) =>
      gateway.handlePunt(now, { reason: "flow", direction: "out", slot: slots[n] ?? -1, packet: out }),
    );
    const [command, ...rest] = lone.commands.splice(0).filter(({ kind }) => kind === "write-tun");
    if (command?.kind !== "write-tun" || rest.length > 0) throw new Error(`connection ${i} went nowhere`);
    const seen = viewPacket(command.packet);
    // An outside tuple is of one inside tuple of its client, for as long as it lives.
    const tuple = `${n} ${seen.ports?.source} ${seen.destination}`;
    const inside = port * 16 + PROXIES.indexOf(proxy);
    expect(outside.get(tuple) ?? inside).toBe(inside);
    outside.set(tuple, inside);
    expect(seen.source).toEqual(addressOf(n));

    const back = udp(seen.destination, 53, addressOf(n), seen.ports?.source ?? 0, mark);
    lone.apply((gateway) =>
      gateway.handlePunt(now, { reason: "flow", direction: "in", slot: slots[n] ?? -1, packet: back }),
    );
    const [answer, ...others] = sent.splice(0);
    expect(others).toEqual([]);
    expect(answer).toEqual({ id: cidOf(n), packet: udp(proxy, 53, addressOf(n), port, mark) });
    if (i % PER_SECOND === 0) lone.apply((gateway) => gateway.handleTimeout(now));
  }
  expect(outside.size).toBeGreaterThan(1_000);
}, 60_000);
