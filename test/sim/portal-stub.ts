/** A portal stub of the simulated world: it authorises what the test tells it to (TS-12). */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, ip, parsePrefix, toHex, type UnixMs } from "../../src/base/index.ts";
import type {
  Authorization,
  ClientRequest,
  ClientResource,
  FlowFailureReason,
  GatewayRequest,
  GatewayResource,
} from "../../src/portal/protocol/index.ts";
import type { TunnelClient, TunnelGateway } from "../../src/tunnel/index.ts";
import type { World } from "./world.ts";

export const CID = "00000000-0000-4000-8000-00000000000c";
export const GID = "00000000-0000-4000-8000-00000000000e";
const SITE = { id: "00000000-0000-4000-8000-000000000051", name: "Berlin" };
const CLIENT_ADDRESSES = { ipv4: ip("100.64.0.2"), ipv6: ip("fd00:2021:1111::2") };
const GATEWAY_ADDRESSES = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
const PORTAL_DELAY_MS = 20;

type ToClient = Parameters<TunnelClient["handlePortalMessage"]>[1];
type ToGateway = Parameters<TunnelGateway["handlePortalMessage"]>[1];
type Cidr = Extract<GatewayResource, { kind: "cidr" }>;

/** What the portal stub answers to `create-flow`. */
export type Answer =
  | { readonly kind: "grant"; readonly expiresAt?: UnixMs; readonly filters?: Cidr["filters"] }
  /** The client is told yes, the gateway nothing: what a client that lies about its access looks like. */
  | { readonly kind: "client-only" }
  | { readonly kind: "refuse"; readonly reason: FlowFailureReason };

/** The two who have joined: their keys, and how messages reach them. */
export interface Joined {
  clientKey: Uint8Array;
  gatewayKey: Uint8Array;
  toClient(message: ToClient): void;
  toGateway(message: ToGateway): void;
}

export interface PortalStub {
  readonly world: World;
  readonly joined: Joined;
  readonly listed: Map<string, ClientResource>;
  /** By resource id; what is missing is granted for ever. */
  readonly answers: Map<string, Answer>;
  /** Resource ids of all intents so far. */
  readonly intents: string[];
  /** By reference: what happens once the gateway has agreed. */
  readonly waiting: Map<string, () => void>;
}

export function createPortalStub(world: World, joined: Joined): PortalStub {
  return { world, joined, listed: new Map(), answers: new Map(), intents: [], waiting: new Map() };
}

/** Tells the client at once that it may want these networks or names, by resource id, and no others. */
export function initClient(
  stub: PortalStub,
  key: Uint8Array,
  networks: Readonly<Record<string, string>>,
): void {
  const { joined, listed } = stub;
  joined.clientKey = key;
  listed.clear();
  for (const [rid, address] of Object.entries(networks)) {
    const common = { rid, name: rid, sites: [SITE], filters: [] };
    const network = parsePrefix(address);
    if (network.ok) listed.set(rid, { ...common, kind: "cidr", address: network.value });
    else listed.set(rid, { ...common, kind: "dns", address, ipStack: "dual" });
  }
  joined.toClient({
    kind: "init",
    interface: { ...CLIENT_ADDRESSES, upstreamDo53: [], upstreamDoh: [] },
    resources: [...listed.values()],
    relays: [],
  });
}

export function initGateway(
  { joined }: PortalStub,
  key: Uint8Array,
  authorizations: readonly Authorization[],
): void {
  joined.gatewayKey = key;
  joined.toGateway({ kind: "init", interface: GATEWAY_ADDRESSES, relays: [], authorizations });
}

export function tellGatewayLeft(stub: PortalStub): void {
  tellClient(stub, { kind: "gateway-left", gid: GID });
}

export function handleClientRequest(stub: PortalStub, request: ClientRequest): void {
  if (request.kind === "create-flow") {
    stub.intents.push(request.rid);
    stub.world.at(PORTAL_DELAY_MS, () => answer(stub, request.rid));
  } else if (request.kind === "broadcast-ice-candidates") {
    tellGateway(stub, { kind: "ice-candidates", cid: CID, candidates: request.candidates });
  }
}

export function handleGatewayRequest(stub: PortalStub, request: GatewayRequest): void {
  if (request.kind === "flow-authorized") {
    stub.world.at(PORTAL_DELAY_MS, () => stub.waiting.get(request.ref)?.());
  } else if (request.kind === "broadcast-ice-candidates") {
    tellClient(stub, { kind: "ice-candidates", gid: GID, candidates: request.candidates });
  }
}

function tellClient({ world, joined }: PortalStub, message: ToClient): void {
  world.at(2 * PORTAL_DELAY_MS, () => joined.toClient(message));
}

function tellGateway({ world, joined }: PortalStub, message: ToGateway): void {
  world.at(2 * PORTAL_DELAY_MS, () => joined.toGateway(message));
}

function answer(stub: PortalStub, rid: string): void {
  const { joined, listed, answers, waiting } = stub;
  const decision = answers.get(rid) ?? { kind: "grant" };
  const resource = listed.get(rid);
  if (decision.kind === "refuse" || resource === undefined || resource.kind === "internet") {
    const reason = decision.kind === "refuse" ? decision.reason : "not_found";
    return tellClient(stub, { kind: "flow-creation-failed", rid, reason, violatedProperties: [] });
  }
  const { presharedKey, ...credentials } = secretsOf(joined);
  const created = (): void =>
    tellClient(stub, {
      kind: "flow-created",
      rid,
      gid: GID,
      siteId: SITE.id,
      gatewayKey: joined.gatewayKey,
      gatewayIpv4: GATEWAY_ADDRESSES.ipv4,
      gatewayIpv6: GATEWAY_ADDRESSES.ipv6,
      presharedKey,
      ...credentials,
    });
  if (decision.kind === "client-only") return created();
  waiting.set(rid, created);
  tellGateway(stub, {
    kind: "authorize-flow",
    ref: rid,
    resource: grantedOf(resource, decision.filters ?? []),
    client: { ...CLIENT_ADDRESSES, cid: CID, publicKey: joined.clientKey, presharedKey, device: {} },
    ...credentials,
    ...(decision.expiresAt !== undefined && { expiresAt: decision.expiresAt }),
    subject: {},
  });
}

function grantedOf(
  resource: Exclude<ClientResource, { kind: "internet" }>,
  filters: Cidr["filters"],
): GatewayResource {
  const { rid, name } = resource;
  if (resource.kind === "cidr") return { kind: "cidr", rid, name, address: resource.address, filters };
  return { kind: "dns", rid, name, address: resource.address, filters };
}

/** The secrets of a flow follow from the keys of both: the same pair gets the same ones again. */
function secretsOf({ clientKey, gatewayKey }: Joined) {
  const keys = concatBytes(clientKey, gatewayKey);
  const secret = toHex(sha256(keys));
  return {
    presharedKey: sha256(concatBytes(keys, Uint8Array.of(1))),
    clientCredentials: { username: secret.slice(0, 8), password: secret.slice(8, 34) },
    gatewayCredentials: { username: secret.slice(34, 38), password: secret.slice(38, 64) },
  };
}
