/**
 * A gateway with many clients in one process: the product's machine and its plane, without workers. Played are the
 * portal, the resolver, and the connections, which `bench/handshake` measures.
 */
import { createPlane, createPlaneMemory } from "../../build/bindings/plane/index.js";
import { createSeededRandom, instant, ip, unixMs } from "../../build/src/base/index.js";
import { encodeAssignedIps } from "../../build/src/packet/index.js";
import { createTunnelGateway } from "../../build/src/tunnel/index.js";

export const START = instant(1_000_000);
const OWN = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
export const FROM = { address: ip("192.0.2.1"), port: 51820 };
export const LOCAL = ip("192.0.2.2");
const RID = "00000000-0000-4000-8000-0000000000a1";
/** All clients have the same: what their names lead to differs. */
export const PROXY = ip("100.96.0.1");
const PROXIES = [1, 2, 3, 4].map((last) => ip(`100.96.0.${last}`));
const FAR = instant(Number.MAX_SAFE_INTEGER / 2);
/** `authorize_flow` and the client's list of addresses are the portal's and the client's messages. */
const RESOURCE = { kind: "dns", rid: RID, name: "wiki", address: "*.example.com", filters: [] };
const FILTERS = [{ protocol: "udp", firstPort: 53, lastPort: 443 }];
const CREDENTIALS = { username: "none", password: "x".repeat(22) };

export const cidOf = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
export const clientAddress = (n) => new Uint8Array([100, 64, 1 + (n >> 8), n & 255]);
export const realAddress = (n) => new Uint8Array([198, 18, n >> 8, n & 255]);
export const peerIdOf = (n) => n + 1;
export const sessionIndex = (n) => (peerIdOf(n) * 256 + 1) >>> 0;
export const keyOf = (n) =>
  new Uint8Array(32).fill(7).map((byte, i) => (i < 4 ? (n >> (8 * i)) & 255 : byte));

export function createGateway(module, { clients }) {
  const { memory } = createPlaneMemory();
  const maxPeers = 2 ** Math.ceil(Math.log2(Math.max(clients, 4)));
  const flows = { random: createSeededRandom(1) };
  const plane = createPlane({ memory, module, mode: "gateway", mtu: 1280, maxPeers, flows });
  const played = playConnections(plane);
  const options = { connections: played.connections, flows: plane.flows, isHostOpen: false };
  const machine = createTunnelGateway({
    ...options,
    now: START,
    unixNow: unixMs(1_700_000_000_000),
    // Nobody shakes hands here, so no place would get free.
    setUpsAtOnce: Number.MAX_SAFE_INTEGER,
  });
  const gateway = { plane, memory, machine, now: START, toTun: 0, toClients: 0, lookups: [] };
  played.onPacket = () => gateway.toClients++;
  machine.handlePortalMessage(START, { kind: "init", interface: OWN, relays: [], authorizations: [] });
  carryOut(gateway);
  return gateway;
}

/** What the machine asks of its connections: each client has one, with a session and a path. */
function playConnections(plane) {
  const [slots, ids] = [new Map(), new Map()];
  const commands = [];
  const played = { onPacket: () => {} };
  const nothing = () => undefined;
  played.connections = {
    ...{
      pollTimeout: nothing,
      pollTransmit: nothing,
      pollEvent: nothing,
      pathShown: nothing,
      mtuOf: nothing,
    },
    ...{ handleTimeout() {}, handleCarriedOut() {}, handleWallClock() {}, updateRelays() {} },
    upsertConnection(_now, { id }) {
      if (slots.has(id)) return { kind: "reused", slot: slots.get(id) };
      const slot = slots.size;
      slots.set(id, slot);
      ids.set(slot, id);
      connect(plane, slot);
      return { kind: "created", slot };
    },
    wouldReuse: ({ id }) => slots.has(id),
    slotOf: (id) => slots.get(id),
    connectionOf: (slot) => ids.get(slot),
    sendPacket() {
      played.onPacket();
      return "queued";
    },
    publish: (_now, tables) => commands.push({ kind: "publish", tables }),
    setPolicy: (_now, slot, policy) => commands.push({ kind: "set-policy", slot, policy }),
    pollCommand: () => commands.shift(),
  };
  return played;
}

function connect(plane, slot) {
  const key = keyOf(slot);
  const direct = {
    kind: "direct",
    destination: FROM,
    headRoom: 0,
    isIdle: false,
    isBroken: false,
    generation: 1,
  };
  plane.execute({ kind: "add-peer", slot, peerId: peerIdOf(slot) });
  plane.execute({ kind: "set-path", slot, path: direct });
  const local = sessionIndex(slot);
  const times = { sendUntil: FAR, recvUntil: FAR };
  const session = {
    local,
    remote: local,
    generation: 1,
    isInitiator: true,
    sendKey: key,
    receiveKey: key,
    ...times,
  };
  plane.execute({ kind: "install", slot, peerId: peerIdOf(slot), session });
  plane.execute({ kind: "set-current", slot, local });
}

/** As the shell does behind every input. */
function carryOut(gateway) {
  const { machine, plane } = gateway;
  for (let command = machine.pollCommand(); command !== undefined; command = machine.pollCommand()) {
    if (command.kind === "publish") plane.publish(command.tables);
    else if (command.kind === "write-tun") gateway.toTun++;
    else plane.execute(command);
  }
  for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
    if (event.kind === "resolve-setup") gateway.lookups.push(event.query.token);
  }
  plane.published();
  plane.releaseFlows();
}

/** Grants client `n` a name with filters; the client tells its addresses, and the name leads to `realAddress(n)`. */
export function admit(gateway, n) {
  const { machine } = gateway;
  machine.handlePortalMessage(gateway.now, {
    ...{ kind: "authorize-flow", ref: `${n}`, resource: { ...RESOURCE, filters: FILTERS }, subject: {} },
    client: {
      ...{
        cid: cidOf(n),
        ipv4: clientAddress(n),
        ipv6: ip(`fd00:2021:1111::1:${n.toString(16)}`),
        device: {},
      },
      ...{ publicKey: keyOf(n), presharedKey: new Uint8Array(32) },
    },
    ...{ clientCredentials: CREDENTIALS, gatewayCredentials: CREDENTIALS },
  });
  carryOut(gateway);
  const packet = encodeAssignedIps({ rid: RID, domain: `n${n}.example.com`, proxies: PROXIES });
  machine.handlePunt(gateway.now, { reason: "control-event", slot: n, packet });
  carryOut(gateway);
  const addresses = [realAddress(n)];
  for (const token of gateway.lookups.splice(0)) {
    machine.handleSetupResult(gateway.now, token, { kind: "addresses", addresses });
  }
  carryOut(gateway);
}

/** What the plane has for control, as a turn of the shell takes it. */
export function turn(gateway) {
  const { machine, plane } = gateway;
  for (const punt of plane.takePunts(1024)) machine.handlePunt(gateway.now, punt);
  carryOut(gateway);
}

/** Time passes with nothing to do but what is due. @returns how often control was woken */
export function idle(gateway, ms) {
  const { machine } = gateway;
  const end = gateway.now + ms;
  let wakes = 0;
  for (let due = machine.pollTimeout(); due !== undefined && due <= end; due = machine.pollTimeout()) {
    gateway.now = due;
    machine.handleTimeout(due);
    carryOut(gateway);
    wakes++;
  }
  gateway.now = instant(end);
  return wakes;
}
