/** A client or gateway with real connections, and a plane that does nothing: what it says is recorded. */
import { instant, ip, unixMs } from "../../../src/base/index.ts";
import { type ConnectionRole, type Connections, createConnections } from "../../../src/connections/index.ts";
import {
  type EndedFlow,
  type FlowRecord,
  type FlowStamps,
  type FlowUsage,
  NO_ACTIVITY,
  type PlaneFlows,
} from "../../../src/plane/index.ts";
import type { TunnelCommand, TunnelEnd } from "../../../src/tunnel/index.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import { nextTurn } from "../../lib/bounds.ts";

export const START = instant(1_000_000);
export const UNIX_START = unixMs(1_700_000_000_000);
export const CID = "00000000-0000-4000-8000-00000000000c";
export const GID = "00000000-0000-4000-8000-00000000000e";
export const RID = "00000000-0000-4000-8000-0000000000a1";
export const SITE = { id: "00000000-0000-4000-8000-000000000051", name: "Berlin" };
export const CREDENTIALS = {
  client: { username: "clnt", password: "c".repeat(22) },
  gateway: { username: "gway", password: "g".repeat(22) },
};

export interface LoneTunnel<Event, Machine extends TunnelEnd<Event>> {
  readonly machine: Machine;
  readonly connections: Connections;
  readonly commands: TunnelCommand[];
  readonly events: Event[];
  /** Runs an input, then takes everything out. */
  apply(input: (machine: Machine) => void): void;
}

export function createLoneTunnel<Event, Machine extends TunnelEnd<Event>>(
  role: ConnectionRole,
  create: (connections: Connections) => Machine,
): LoneTunnel<Event, Machine> {
  const connections = createConnections({
    role,
    crypto: NOBLE_CRYPTO,
    seed: new Uint8Array(32).fill(role.length),
    now: START,
    unixNow: UNIX_START,
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: () => 0n,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
  });
  const machine = create(connections);
  const lone: LoneTunnel<Event, Machine> = {
    machine,
    connections,
    commands: [],
    events: [],
    apply(input) {
      input(machine);
      for (let next = machine.pollCommand(); next !== undefined; next = machine.pollCommand()) {
        lone.commands.push(next);
        if (next.kind !== "write-tun") machine.handleCarriedOut(START, next);
      }
      let turns = 0;
      while (machine.pollTransmit() !== undefined) turns = nextTurn(turns, "what a tunnel sends");
      for (let next = machine.pollEvent(); next !== undefined; next = machine.pollEvent())
        lone.events.push(next);
    },
  };
  lone.apply(() => machine.handleOwnAddresses(START, [{ address: ip("192.0.2.10"), port: 52_625 }]));
  lone.commands.length = 0;
  lone.events.length = 0;
  return lone;
}

/** IPv4 with protocol 253. */
export function packetTo(destination: string, source = "100.64.0.2"): Uint8Array {
  const packet = new Uint8Array(24);
  packet.set([0x45, 0, 0, packet.length, 0, 0, 0, 0, 64, 253]);
  packet.set(ip(source), 12);
  packet.set(ip(destination), 16);
  return packet;
}

export interface LoneFlows extends PlaneFlows {
  /** Records that are linked, by id. */
  readonly linked: Map<number, FlowRecord>;
  /** Slots of all revocations, in order. */
  readonly revoked: (number | undefined)[];
  /** What the next sweep gives. */
  readonly over: EndedFlow[];
  /** What is seen of a flow; without it: nothing yet. */
  readonly seen: Map<number, FlowUsage>;
}

const UNSEEN: FlowStamps = { last: instant(0), packets: 0, bytes: 0, hasFin: false, hasRst: false };
export const UNUSED: FlowUsage = { out: UNSEEN, in: UNSEEN };

/** Flow records without a plane. */
export function createLoneFlows(): LoneFlows {
  let id = 0;
  const flows: LoneFlows = {
    linked: new Map(),
    revoked: [],
    over: [],
    seen: new Map(),
    link(_now, flow) {
      flows.linked.set(++id, flow);
      return id;
    },
    unlink: (one) => (flows.linked.delete(one) ? (flows.seen.get(one) ?? UNUSED) : undefined),
    usage: (one) => (flows.linked.has(one) ? (flows.seen.get(one) ?? UNUSED) : undefined),
    note(one, direction, { hasFin, hasRst }) {
      if (!flows.linked.has(one)) return;
      const seen = flows.seen.get(one) ?? UNUSED;
      const { [direction]: side } = seen;
      const noted = { ...side, hasFin: side.hasFin || hasFin, hasRst: side.hasRst || hasRst };
      flows.seen.set(one, { ...seen, [direction]: noted });
    },
    revoke: (slot) => void flows.revoked.push(slot),
    sweep() {
      const ended = flows.over.splice(0);
      for (const one of ended) flows.linked.delete(one.id);
      return ended;
    },
  };
  return flows;
}
