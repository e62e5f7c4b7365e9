/** A portal under random inputs, and what must hold at every moment (portal.md §17, simulation). */
import { expect } from "vitest";
import { equalBytes } from "../../../src/base/index.ts";
import {
  type ClientWire,
  createFlow,
  createWorld,
  type GatewayWire,
  OFFICE,
  TOKENS,
  type World,
} from "./server-world.ts";

const MUNICH = "sites: [{ name: Munich, gateway_tokens: [{ name: m, env: MUNICH }] }]\n";
const ALICE =
  "actors: [{ name: Alice, type: user, tokens: [{ name: a, env: ALICE, expires_at: 2026-01-27T12:03:00Z }] }]\n";

/** Configurations that grant differently. */
const FILES = [
  OFFICE,
  "version: 1\nresources: [{ name: Office, type: cidr, address: 172.20.0.0/16, site: default }]\n",
  OFFICE.replace("172.20.0.0/16", "10.0.0.0/8"),
  `${OFFICE.replace("site: default", "site: Munich")}${MUNICH}${ALICE}groups: [{ name: dev, members: [Alice] }]\n`,
];

export interface ServerSnapshot {
  readonly world: World;
  /** Everything that was pushed so far. */
  trace(): unknown;
  readonly inputs: readonly ((n: number) => void)[];
  check(): void;
}

export function createServerSnapshot(): ServerSnapshot {
  const world = createWorld();
  const clients: ClientWire[] = [];
  const gateways: GatewayWire[] = [];

  function connect(role: "client" | "gateway", n: number): void {
    const token = n === 3 ? (role === "client" ? TOKENS.alice : TOKENS.munich) : TOKENS[role];
    const identity = { id: `${role}-${n}`, key: 1 + (world.now % 3), token };
    try {
      if (role === "client") clients.push(world.client(identity));
      else gateways.push(world.gateway(identity));
    } catch {
      // Refused, because the limits of PT-72 or the present configuration say so.
    }
  }

  const live = <W extends { closeCode: number | undefined }>(wires: readonly W[], n: number): W | undefined =>
    wires.filter((wire) => wire.closeCode === undefined).at(-1 - n);

  return {
    world,
    trace: () => [...clients, ...gateways].map(({ log, pings, closeCode }) => [log.length, pings, closeCode]),
    inputs: [
      (n) => connect("client", n),
      (n) => connect("gateway", n),
      (n) => {
        const client = live(clients, n);
        for (const rid of shownTo(client)) client?.send(createFlow(rid));
      },
      (n) => {
        const gateway = live(gateways, n);
        if (gateway?.messages.some(({ kind }) => kind === "authorize-flow")) gateway.answer();
      },
      (n) => live(clients, n)?.close(),
      (n) => live(gateways, n)?.close(),
      (n) => world.reload(FILES[n] ?? OFFICE),
      (n) => {
        const client = live(clients, n);
        const gids = client?.messages.flatMap((message) =>
          message.kind === "flow-created" ? message.gid : [],
        );
        client?.send({ kind: "broadcast-ice-candidates", gids: gids ?? [], candidates: ["x"] });
      },
      (n) => {
        const gateway = live(gateways, n);
        const cids = gateway?.messages.flatMap((message) =>
          message.kind === "authorize-flow" ? message.client.cid : [],
        );
        gateway?.send({ kind: "broadcast-ice-candidates", cids: cids ?? [], candidates: ["y"] });
      },
      (n) => {
        world.hasDisk = n > 0;
        world.flush();
      },
      (n) => {
        const wire = live(gateways, n);
        if (wire !== undefined) wire.answersPings = !wire.answersPings;
      },
    ],
    check() {
      checkKeys(clients, gateways);
      for (const client of firstWires(clients)) checkOrder(client);
    },
  };
}

/** The resources that the messages so far leave a client with. */
export function shownTo(client: ClientWire | undefined): ReadonlySet<string> {
  const shown = new Set<string>();
  for (const message of client?.messages ?? []) {
    switch (message.kind) {
      case "init":
        shown.clear();
        for (const { rid } of message.resources) shown.add(rid);
        break;
      case "resource-created-or-updated":
        shown.add(message.resource.rid);
        break;
      case "resource-deleted":
        shown.delete(message.rid);
        break;
      default:
        break;
    }
  }
  return shown;
}

/** (d) Both sides of every flow have equal keys. */
function checkKeys(clients: readonly ClientWire[], gateways: readonly GatewayWire[]): void {
  const told = gateways.flatMap(({ messages }) =>
    messages.flatMap((message) => (message.kind === "authorize-flow" ? [message] : [])),
  );
  for (const { messages } of clients) {
    for (const message of messages) {
      if (message.kind !== "flow-created") continue;
      const isTold = told.some(
        ({ resource, client, gatewayCredentials }) =>
          resource.rid === message.rid &&
          equalBytes(client.presharedKey, message.presharedKey) &&
          gatewayCredentials.password === message.gatewayCredentials.password,
      );
      expect(isTold).toBe(true);
    }
  }
}

/** The first connection of each device: a later one may hear of flows that an earlier one began. */
function firstWires(clients: readonly ClientWire[]): Iterable<ClientWire> {
  const first = new Map<string, ClientWire>();
  for (const client of clients) {
    const message = client.messages[0];
    const address = message?.kind === "init" ? message.interface.ipv4.join(".") : undefined;
    if (address !== undefined && !first.has(address)) first.set(address, client);
  }
  return first.values();
}

/** (c), (f) `init` comes first, and no candidate before its flow. */
function checkOrder(client: ClientWire): void {
  const first = client.messages[0];
  if (first !== undefined) expect(first.kind).toBe("init");
  const flows = new Set<string>();
  for (const message of client.messages) {
    if (message.kind === "flow-created") flows.add(message.gid);
    if (message.kind === "ice-candidates") expect(flows.has(message.gid)).toBe(true);
  }
}
