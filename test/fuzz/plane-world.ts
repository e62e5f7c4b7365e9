/**
 * The plane under attack: three peers, of which one is malicious with valid keys, and everything that a
 * twin needs to know about them.
 *
 *     slot 3  mallory  10.1.0.1, fd01::1   direct, sessions of both roles, one that has expired
 *     slot 5  alice    10.3.0.1, fd03::1   relayed, one session that we began
 *     slot 7  bob      10.4.0.1, fd04::1   no path, no session
 *
 * Behind us lie 10.2.0.0/16 and fd02::/16, and other routes lead to every verdict.
 */
import type { CipherName } from "../../bindings/cipher/index.ts";
import type { Plane, PlaneMode } from "../../bindings/plane/index.ts";
import { type Instant, instant, ip, prefix, type SocketAddress, toPrefix } from "../../src/base/index.ts";
import type { PathRecord, PeerPolicy, PolicyTables, Route, SessionKeys } from "../../src/plane/index.ts";
import { directPath, testPlane } from "../unit/plane/pair.ts";

export const START: Instant = instant(1_000_000);
export const OWN: SocketAddress = { address: ip("192.0.2.2"), port: 51820 };
export const ENDPOINT: SocketAddress = { address: ip("192.0.2.1"), port: 4000 };
export const RELAY: SocketAddress = { address: ip("198.51.100.7"), port: 3478 };
export const CHANNEL = 0x4abc;
/** Below WireGuard's own, so that received counters at the limit are ordinary numbers (WG-45). */
export const LIMITS = { rekeyAfterMessages: 2n ** 40n, rejectAfterMessages: 2n ** 41n };

/** About these, behind a gateway, flows decide; and real addresses that only translations know. */
export const BY_FLOW = [ip("10.2.0.10"), ip("fd02::a")];
export const OUTSIDE = [ip("10.66.0.1"), ip("fd66::1")];

export interface WorldPeer {
  readonly name: "mallory" | "alice" | "bob";
  readonly slot: number;
  readonly peerId: number;
  readonly v4: Uint8Array;
  readonly v6: Uint8Array;
  readonly path?: PathRecord;
  readonly sessions: readonly SessionKeys[];
}

export interface PlaneWorld {
  readonly plane: Plane & { readonly memory: WebAssembly.Memory };
  readonly mode: PlaneMode;
  readonly mtu: number;
  readonly peers: readonly WorldPeer[];
  readonly policy: PolicyTables;
}

export function createPlaneWorld(mode: PlaneMode, variant?: CipherName): PlaneWorld {
  const mtu = mode === "plain" ? 1420 : 1280;
  const peers = createPeers();
  const world = {
    plane: testPlane({ mode, mtu, limits: LIMITS, ...(variant === undefined ? {} : { variant }) }),
    mode,
    mtu,
    peers,
    policy: createPolicy(mode, peers),
  };
  setUp(world.plane, world);
  return world;
}

/** Tells a plane about the world: the WebAssembly or its twin. */
export function setUp(
  plane: Pick<Plane, "execute" | "publish">,
  { peers, policy }: Pick<PlaneWorld, "peers" | "policy">,
): void {
  const { tables, own } = apart(policy);
  for (const { slot, peerId, path, sessions } of peers) {
    plane.execute({ kind: "add-peer", slot, peerId });
    if (path !== undefined) plane.execute({ kind: "set-path", slot, path });
    for (const session of sessions) plane.execute({ kind: "install", slot, peerId, session });
    const first = sessions.find(({ isInitiator }) => isInitiator);
    if (first !== undefined) plane.execute({ kind: "set-current", slot, local: first.local });
    const policyOfPeer = own.get(slot);
    if (policyOfPeer !== undefined) plane.execute({ kind: "set-policy", slot, policy: policyOfPeer });
  }
  plane.publish(tables);
}

/** Whoever has a single address is told of by itself, as a gateway does with its clients (TN-110). */
function apart({ routes, permits, ...rest }: PolicyTables) {
  const isSingle = ({ prefix, target }: Route): boolean =>
    target.kind === "peer" && prefix.bits === prefix.address.length * 8;
  const own = new Map<number, PeerPolicy>();
  for (const { slot, ...permit } of permits) {
    const addresses = routes.flatMap((route) =>
      isSingle(route) && route.target.kind === "peer" && route.target.slot === slot
        ? [route.prefix.address]
        : [],
    );
    if (addresses.length > 0) own.set(slot, { addresses, permits: permit });
  }
  const isOwn = (route: Route): boolean =>
    isSingle(route) && route.target.kind === "peer" && own.has(route.target.slot);
  const tables = {
    ...rest,
    routes: routes.filter((route) => !isOwn(route)),
    permits: permits.filter(({ slot }) => !own.has(slot)),
  };
  return { tables, own };
}

export function peerNamed(peers: readonly WorldPeer[], name: WorldPeer["name"]): WorldPeer {
  const peer = peers.find((candidate) => candidate.name === name);
  if (peer === undefined) throw new Error(`no peer ${name}`);
  return peer;
}

function createPeers(): readonly WorldPeer[] {
  const far = { sendUntil: instant(START + 9e9), recvUntil: instant(START + 9e9) };
  const past = { sendUntil: instant(START - 10_000), recvUntil: START };
  const mallory = 0x0a0a0a;
  const alice = 0x0b0b0b;
  return [
    {
      name: "mallory",
      slot: 3,
      peerId: mallory,
      v4: ip("10.1.0.1"),
      v6: ip("fd01::1"),
      path: directPath(ENDPOINT),
      sessions: [
        sessionOf(mallory, 1, { isInitiator: true, ...far }),
        sessionOf(mallory, 2, { isInitiator: false, ...far }),
        sessionOf(mallory, 3, { isInitiator: false, ...past }),
        sessionOf(mallory, 4, { isInitiator: false, ...far }),
      ],
    },
    {
      name: "alice",
      slot: 5,
      peerId: alice,
      v4: ip("10.3.0.1"),
      v6: ip("fd03::1"),
      path: directPath(RELAY, { kind: "relayed", channel: CHANNEL, headRoom: 4 }),
      sessions: [sessionOf(alice, 1, { isInitiator: true, ...far })],
    },
    { name: "bob", slot: 7, peerId: 0x0c0c0c, v4: ip("10.4.0.1"), v6: ip("fd04::1"), sessions: [] },
  ];
}

function sessionOf(
  peerId: number,
  number: number,
  rest: Pick<SessionKeys, "isInitiator" | "sendUntil" | "recvUntil">,
): SessionKeys {
  return {
    local: (peerId * 256 + number) >>> 0,
    remote: ((peerId ^ 0xffffff) * 256 + number) >>> 0,
    generation: number,
    sendKey: new Uint8Array(32).fill(number + (peerId & 15)),
    receiveKey: new Uint8Array(32).fill(128 + number + (peerId & 15)),
    ...rest,
  };
}

/** As the three programs publish it, with routes to every verdict that a route can have. */
function createPolicy(mode: PlaneMode, peers: readonly WorldPeer[]): PolicyTables {
  const routes: Route[] = peers.flatMap(({ slot, v4, v6 }) => {
    // A client reaches networks behind its gateways, a gateway its clients' addresses.
    const bits = mode === "gateway" ? { v4: 32, v6: 128 } : { v4: 16, v6: 32 };
    const target = { kind: "peer", slot } as const;
    return [
      { prefix: toPrefix(v4, bits.v4), target },
      { prefix: toPrefix(v6, bits.v6), target },
    ];
  });
  const verdicts: readonly Route[] = [
    { prefix: prefix("10.50.0.0/16"), target: { kind: "punt" } },
    { prefix: prefix("10.55.0.0/16"), target: { kind: "flow" } },
    { prefix: prefix("fd55::/16"), target: { kind: "flow" } },
    { prefix: prefix("10.60.0.0/16"), target: { kind: "refuse" } },
    { prefix: prefix("10.70.0.0/16"), target: { kind: "drop", reason: "unknown-peer" } },
    // Inside mallory's network: the longer prefix belongs to alice.
    { prefix: prefix("10.1.128.0/17"), target: { kind: "peer", slot: 5 } },
    // A slot that no peer has.
    { prefix: prefix("10.80.0.0/16"), target: { kind: "peer", slot: 9 } },
  ];
  if (mode === "plain") return { routes: [...routes, ...verdicts.slice(5)], permits: [] };
  const permits = peers.flatMap(({ name, slot, v4, v6 }) => {
    if (name === "bob") return [];
    const sources =
      mode === "gateway" ? [toPrefix(v4, 32), toPrefix(v6, 128)] : [toPrefix(v4, 16), toPrefix(v6, 32)];
    const granted = [prefix("10.2.0.0/16"), prefix("fd02::/16")];
    if (mode === "client") return [{ slot, sources, refuseDestination: false }];
    const refuseDestination = name === "mallory";
    const hosts = BY_FLOW.map((address) => toPrefix(address, address.length * 8));
    const byFlow = { destinations: hosts, egressSources: hosts, isTranslated: name === "alice" };
    return [{ slot, sources, destinations: granted, egressSources: granted, refuseDestination, byFlow }];
  });
  const own = mode === "client" ? { ownAddresses: [ip("10.2.0.1"), ip("fd02::1")] } : {};
  return { ...own, routes: [...routes, ...verdicts], permits };
}
