/**
 * The system under test: the product's machines for portal, relays, gateways and clients in the simulated world, as
 * the setup places them, with applications on the clients and servers behind the gateways.
 */
import { ip } from "../../../src/base/index.ts";
import type { DirectQuery } from "../../../src/dns/index.ts";
import type { ClientPeer, GatewayPeer } from "../../sim/peer.ts";
import { type Play, type Story, story } from "../../sim/story.ts";
import type { PlaneKind } from "../../twin/driven-plane.ts";
import { type Application, createApplication } from "./application.ts";
import { portalFile, tokenOf } from "./portal-file.ts";
import { createReference, type Reference } from "./reference.ts";
import { createServers, type Servers } from "./servers.ts";
import type { ClientPlace, Place, Setup } from "./setup.ts";
import { createSites, type Sites } from "./sites.ts";

export interface Stage {
  readonly setup: Setup;
  readonly reference: Reference;
  readonly play: Play;
  readonly servers: Servers;
  readonly sites: Sites;
  /** The portal's file, as it has to be now. */
  file(): string;
  application(client: string): Application;
}

const UPSTREAM_MS = 20;

/** What is another than usual. All but the plane is wrong on purpose, in the place of a fault of the product. */
export interface Fault {
  readonly file?: (reference: Reference) => string;
  /** What comes out of a gateway instead of the packet. */
  readonly atGateway?: (packet: Uint8Array) => readonly Uint8Array[];
  readonly atClient?: (packet: Uint8Array) => readonly Uint8Array[];
  readonly resolution?: (addresses: readonly Uint8Array[]) => readonly Uint8Array[] | undefined;
  /** The site of whose gateways another one is. */
  readonly siteOf?: (site: string) => string;
  /** The other plane, which is no fault (TN-103). */
  readonly planeKind?: PlaneKind;
}

/** A part is asked for before all parts are there only by mistake. */
interface Scene {
  play: Play | undefined;
  readonly applications: Map<string, Application>;
  readonly fault: Fault;
}

export function openStage(setup: Setup, fault: Fault = {}): Stage {
  const reference = createReference(setup);
  const scene: Scene = { play: undefined, applications: new Map(), fault };
  const { file = portalFile } = fault;
  const parts = story(setup.seed, { portalDelayMs: setup.portalDelayMs, model: file(reference) });
  const sites = createSites(parts.world, reference, {
    peer: (gateway) => running(scene.play?.gateway(gateway)),
    isOwn: (gateway, address) => servers.addressOf(gateway, address.length)?.join() === address.join(),
  });
  const servers: Servers = createServers(parts.world, reference, {
    isQuestion: (gateway, packet) => sites.takesPacket(gateway, packet),
    send: (gateway, packet) => running(scene.play?.gateway(gateway))?.send(packet),
    answer(gateway, token, addresses) {
      const peer = running(scene.play?.gateway(gateway));
      if (peer === undefined) return;
      const told = fault.resolution?.(addresses ?? []) ?? addresses;
      const result = told === undefined ? ({ kind: "error" } as const) : toResult(told);
      peer.tunnel.handleSetupResult(parts.world.now(), token, result);
      parts.world.flush(peer.host);
    },
  });
  for (const place of setup.clients) addClient(parts, scene, reference, place);
  for (const { name: site, gateways } of setup.sites) {
    for (const place of gateways) addGateway(parts, { servers, sites, fault }, site, place);
  }
  parts.internet();
  for (const { name, latencyMs } of setup.relays)
    parts.relay(name, { families: "both", link: { latencyMs } });
  const play = parts.begin();
  scene.play = play;
  return {
    setup,
    reference,
    play,
    servers,
    sites,
    file: () => file(reference),
    application(client) {
      const application = scene.applications.get(client);
      if (application === undefined) throw new Error(`no client ${client}`);
      return application;
    },
  };
}

function toResult(addresses: readonly Uint8Array[]) {
  if (addresses.length === 0) return { kind: "none" } as const;
  return { kind: "addresses", addresses } as const;
}

/** A peer that runs; one that was stopped hears and says nothing. */
function running<P extends ClientPeer | GatewayPeer>(peer: P | undefined): P | undefined {
  return peer?.host.program === undefined ? undefined : peer;
}

function addClient(parts: Story, scene: Scene, { internet }: Reference, place: ClientPlace): void {
  const { name, families, latencyMs, nat, isRelayed } = place;
  const blocks = isRelayed ? { blocks: { allButPorts: [3_478] } } : {};
  parts.network(`cafe of ${name}`, { nat: nat ?? "port-restricted", ...blocks });
  parts.network(`home of ${name}`, { ...(nat && { nat }), ...blocks });
  const application = createApplication(parts.world, name, {
    send: (packet) => running(scene.play?.client(name))?.send(packet),
    answer: ({ token, message }: DirectQuery) =>
      parts.world.at(UPSTREAM_MS, () => {
        const peer = running(scene.play?.client(name));
        if (peer === undefined) return;
        peer.tunnel.useResolver(parts.world.now(), (resolver) =>
          resolver.handleDirectResult(parts.world.now(), token, {
            kind: "message",
            message: noSuchName(message),
          }),
        );
        parts.world.flush(peer.host);
      }),
  });
  scene.applications.set(name, application);
  parts.client(name, {
    families,
    link: { latencyMs },
    setUp: () => ({
      token: tokenOf("client", name),
      ...planeOf(scene.fault),
      hasResolver: true,
      isInternetOn: internet.has(name),
      takePacket: (packet) => through(scene.fault.atClient, packet, application.takePacket),
      takeEvent: application.takeEvent,
    }),
  });
}

function planeOf({ planeKind }: Fault): { readonly planeKind?: PlaneKind } {
  return planeKind === undefined ? {} : { planeKind };
}

function through(change: Fault["atClient"], packet: Uint8Array, take: (packet: Uint8Array) => void): void {
  for (const next of change?.(packet) ?? [packet]) take(next);
}

function addGateway(
  parts: Story,
  { servers, sites, fault }: Pick<Stage, "servers" | "sites"> & { readonly fault: Fault },
  site: string,
  { name, latencyMs, nat }: Place,
): void {
  const { siteOf = (own: string) => own } = fault;
  if (nat === undefined) parts.internet();
  else parts.network(`office of ${name}`, { nat });
  parts.gateway(name, {
    families: "both",
    link: { latencyMs },
    setUp: () => ({
      token: tokenOf("gateway", siteOf(site)),
      hasNameServer: true,
      ...planeOf(fault),
      takePacket: (packet) => through(fault.atGateway, packet, (next) => servers.take(name, next)),
      takeEvent(event) {
        if (event.kind === "resolve-setup") servers.resolve(name, event.query);
        if (event.kind === "interface") servers.noteOwn(name, event.interface.addresses);
        sites.takeEvent(name, event);
      },
    }),
  });
}

/** Tells a client's resolver of the servers that its host used before; after each start, and when they change. */
export function tellResolver(stage: Stage, client: string): void {
  const { world } = stage.play;
  const servers = (stage.reference.hostServers.get(client) ?? []).map((text) => ({ address: ip(text) }));
  const { tunnel, host } = stage.play.client(client);
  tunnel.useResolver(world.now(), (resolver) => resolver.handleSystemResolvers(world.now(), servers));
  world.flush(host);
}

/** NXDOMAIN, to the question as it stands. */
function noSuchName(query: Uint8Array): Uint8Array {
  const answer = query.slice();
  answer[2] = 0x81;
  answer[3] = 0x83;
  return answer;
}
