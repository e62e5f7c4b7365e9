/** TCP connections that stay open through everything that happens (TN-101, TS-15). */
import { formatIp } from "../../../src/base/index.ts";
import {
  answerMs,
  type Case,
  describe,
  gatewaysOf,
  type HeldConnection,
  RECOVERED_MS,
  violation,
} from "./case.ts";
import { expect, type Flow } from "./reference.ts";

const HELD_MAX = 4;
const FIRST_PORT = 20_000;
const KEEP_ALIVE_MS = 5_000;

/** Opens one where the reference says that it is served; elsewhere it must not come to be. */
export function open(c: Case, client: string, flow: Flow): void {
  if (c.held.length >= HELD_MAX || c.shaken.size > 0 || c.reference.cuts.size > 0) return;
  const { world } = c.play;
  const application = c.application(client);
  const address = application.own.find(({ length }) => length === flow.destination.length);
  const expectation = expect(c.reference, client, flow);
  if (address === undefined || expectation.kind === "silence") return;
  const before = countServed(c);
  const eventsBefore = application.tcpEvents.length;
  const sightsBefore = application.sights.length;
  const port = FIRST_PORT + ++c.probes;
  const remote = { address: flow.destination, port: flow.port };
  // Half of them say something themselves, the others must live without.
  const keepAlive = c.probes % 2 === 0 ? { keepAliveMs: KEEP_ALIVE_MS } : {};
  const id = application.tcp.connect(world.now(), { address, port }, remote, keepAlive);
  if (id === undefined) return;
  application.flush();
  const isOpen = (): boolean =>
    application.tcpEvents.slice(eventsBefore).some((event) => event.kind === "opened" && event.id === id);
  const isRefused = (): boolean => application.sights.length > sightsBefore;
  world.runUntil(() => isOpen() || isRefused(), answerMs(c));
  if (isRefused() && !isOpen()) {
    const [sight] = application.sights.splice(sightsBefore);
    application.tcp.abort(world.now(), id);
    application.flush();
    const isName = expectation.kind === "served" && expectation.domain !== undefined;
    if (expectation.kind === "served" && !isName)
      violation(`${client}: ${describe(flow)}: refused, ${sight?.kind}`);
    c.labels.add(`tcp ${expectation.kind === "served" ? "unreachable" : expectation.kind}`);
    const after = countServed(c);
    const reached = [...after].filter(([name, count]) => count > (before.get(name) ?? 0));
    if (reached.length > 0) violation(`${client}: ${describe(flow)}: refused, but ${reached} have it`);
    // The reset of what never was is refused, too.
    world.run(answerMs(c));
    application.sights.length = sightsBefore;
    return;
  }
  if (!isOpen()) violation(`${client}: ${describe(flow)}: no connection within ${answerMs(c)} ms`);
  if (expectation.kind !== "served")
    violation(`${client}: ${describe(flow)}: opened, but it is ${expectation.kind}`);
  const gateways = gatewaysOf(
    c,
    expectation.resources.map(({ site }) => site),
  );
  const gateway = gateways.find((name) => c.servers.tcpOf(name).count() > (before.get(name) ?? 0));
  if (gateway === undefined) violation(`${client}: ${describe(flow)}: opened by nobody who serves it`);
  c.labels.add("tcp served");
  const resources = expectation.resources.map(({ name }) => name);
  c.held.push({ client, id, flow, resources, gateway, received: 0 });
}

function countServed({ servers, setup }: Case): ReadonlyMap<string, number> {
  const names = setup.sites.flatMap(({ gateways }) => gateways.map(({ name }) => name));
  return new Map(names.map((name) => [name, servers.tcpOf(name).count()]));
}

/** Each connection carries an octet there and back. */
export function exercise(c: Case): void {
  letGo(c);
  for (const connection of c.held) {
    if (isCutOff(c, connection)) continue;
    const application = c.application(connection.client);
    application.tcp.send(c.play.world.now(), connection.id, Uint8Array.of(1));
    application.flush();
    const before = countData(c, connection);
    const withinMs = c.shaken.size > 0 ? RECOVERED_MS : answerMs(c);
    if (c.play.world.runUntil(() => countData(c, connection) > before, withinMs) === undefined) {
      const { client, flow, gateway } = connection;
      violation(`${client}: the TCP connection to ${formatIp(flow.destination)} by ${gateway} is dead`);
    }
    c.labels.add("tcp lives");
  }
}

/**
 * A connection ends where its packets have another way from now on: its resource is gone, or a better one is there
 * that other gateways serve (TN-21 no. 2), or of which its gateway cannot be told.
 */
function letGo(c: Case): void {
  const ended = c.held.filter(({ client, flow, gateway, resources: served }) => {
    const expectation = expect(c.reference, client, flow);
    if (expectation.kind !== "served") return true;
    const { resources } = expectation;
    if (c.reference.cuts.has(gateway) && !resources.some(({ name }) => served.includes(name))) return true;
    return resources.some(({ site }) => !gatewaysOf(c, [site]).includes(gateway));
  });
  for (const connection of ended) {
    c.held.splice(c.held.indexOf(connection), 1);
    const { tcp, flush } = c.application(connection.client);
    tcp.abort(c.play.world.now(), connection.id);
    flush();
  }
  if (ended.length > 0) c.play.world.run(answerMs(c));
}

function isCutOff({ reference: { cuts } }: Case, { client, gateway }: HeldConnection): boolean {
  return cuts.get(client) === "all" || cuts.get(gateway) === "all";
}

function countData(c: Case, { client, id }: HeldConnection): number {
  return c.application(client).tcpEvents.filter((event) => event.kind === "data" && event.id === id).length;
}

/** Whether one would end with the resource, the client or the gateway (TN-98: what is legal). */
export function isHeld(
  c: Case,
  by: { readonly resource?: string; readonly client?: string; readonly gateway?: string },
): boolean {
  return c.held.some(
    (connection) =>
      (by.resource === undefined || connection.resources.includes(by.resource)) &&
      (by.client === undefined || connection.client === by.client) &&
      (by.gateway === undefined || connection.gateway === by.gateway),
  );
}

/** Elsewhere the portal names another gateway when a connection has failed, which TCP does not survive (PT-84). */
export function hasOneGatewayEach({ setup }: Case): boolean {
  return setup.sites.every(({ gateways }) => gateways.length === 1);
}
