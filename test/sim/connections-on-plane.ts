/**
 * The connections on a packet plane in one thread: the plane's twin, or the WebAssembly in process.
 *
 *     apply, sendPacket, handleDatagram, handleTimeout
 *        │
 *        ▼         commands ▼       ▲ events, no-session punts
 *      connections ◀──────────── plane ────────────▶ packets, other punts
 */
import type { Instant } from "../../src/base/index.ts";
import {
  type ConnectionCommand,
  type ConnectionEvent,
  type Connections,
  type ConnectionsOptions,
  type ConnectionTransmit,
  createConnections,
  type Datagram,
} from "../../src/connections/index.ts";
import type { DataPunt, PolicyTables, Publication } from "../../src/plane/index.ts";
import { nextTurn } from "../lib/bounds.ts";
import type { PlaneKind } from "../twin/driven-plane.ts";
import { createPolledPlane, type PolledPlane } from "../twin/polled-plane.ts";

/** Turns until connections and plane have nothing to say to each other any more. */
const SETTLED_MAX = 1_000;

export interface ConnectionsOnPlane {
  /** For questions only; every input goes through `apply`. */
  readonly connections: Connections;
  readonly plane: PolledPlane;
  /** Any input of the connections, carried through to the plane before it returns. */
  apply<T>(now: Instant, input: (connections: Connections) => T): T;
  /** What is allowed and where packets go; nothing passes before it is published. */
  publish(tables: PolicyTables): void;
  /** A packet as from the TUN device: the routes name its peer. */
  sendPacket(now: Instant, packet: Uint8Array): void;
  handleDatagram(now: Instant, datagram: Datagram): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollTransmit(): ConnectionTransmit | undefined;
  pollEvent(): ConnectionEvent | undefined;
  /** A packet for the TUN device. */
  pollPacket(): Uint8Array | undefined;
  /** Punts for the layer above: all but `no-session`. */
  pollPunt(): DataPunt | undefined;
}

/** What a host does with a packet of the machine's for itself. */
export type HearPacket = (packet: Uint8Array) => void;

interface Carrier {
  readonly hear: HearPacket;
  readonly connections: Connections;
  readonly plane: PolledPlane;
  readonly transmits: ConnectionTransmit[];
  readonly punts: DataPunt[];
  readonly publishing: Publication[];
  published: number;
}

export function createConnectionsOnPlane(
  options: Omit<ConnectionsOptions, "records">,
  kind: PlaneKind,
  hear: HearPacket = () => {},
): ConnectionsOnPlane {
  const plane = createPolledPlane(kind, { mode: options.role });
  const connections = createConnections({ ...options, records: plane.records });
  const carrier: Carrier = {
    ...{ hear, connections, plane },
    ...{ transmits: [], punts: [], publishing: [], published: 0 },
  };
  return {
    connections,
    plane,
    apply(now, input) {
      const result = input(connections);
      settle(carrier, now);
      return result;
    },
    publish(tables) {
      plane.publish(tables);
      carrier.published++;
    },
    sendPacket(now, packet) {
      plane.sendPacket(now, packet);
      settle(carrier, now);
    },
    handleDatagram(now, datagram) {
      plane.handleDatagram(now, datagram);
      settle(carrier, now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      settle(carrier, now);
    },
    pollTimeout: () => connections.pollTimeout(),
    pollTransmit: () => carrier.transmits.shift(),
    pollEvent: () => connections.pollEvent(),
    pollPacket: () => plane.pollPacket(),
    pollPunt: () => carrier.punts.shift(),
  };
}

/** Commands before what they announce (SN-124); what the plane says may cause more of them. */
function settle(carrier: Carrier, now: Instant): void {
  const { connections, plane, transmits } = carrier;
  let turns = 0;
  do {
    turns = nextTurn(turns, "connections and plane", SETTLED_MAX);
    handleAll(
      () => connections.pollCommand(),
      (command) => carryOut(carrier, now, command),
    );
    handleAll(
      () => connections.pollTransmit() ?? plane.pollTransmit(),
      (sent) => transmits.push(sent),
    );
  } while (bringUp(carrier, now));
}

function carryOut(
  { hear, connections, plane, publishing }: Carrier,
  now: Instant,
  command: ConnectionCommand,
): void {
  if (command.kind === "publish") {
    publishing.push(command);
    plane.publish(command.tables);
    return;
  }
  if (command.kind === "write-tun") return hear(command.packet);
  plane.execute(now, command);
  connections.handleCarriedOut(now, command);
}

/** Tells the connections what the plane has said; returns whether there was anything. */
function bringUp(carrier: Carrier, now: Instant): boolean {
  const { connections, plane, punts, publishing } = carrier;
  let count = handleAll(
    () => plane.pollEvent(),
    (event) => connections.handlePlaneEvent(now, event),
  );
  count += handleAll(
    () => plane.pollPunt(),
    (punt) => {
      if (punt.reason === "no-session") connections.handlePunt(now, punt.slot, punt.packet);
      else punts.push(punt);
    },
  );
  // Asked when all punts have been handled (SN-139).
  for (; carrier.published < plane.published(); carrier.published++, count++) {
    const publication = publishing.shift();
    if (publication !== undefined) connections.handleCarriedOut(now, publication);
  }
  return count > 0;
}

function handleAll<T>(poll: () => T | undefined, handle: (item: T) => unknown): number {
  let count = 0;
  for (let item = poll(); item !== undefined; item = poll()) {
    handle(item);
    count++;
  }
  return count;
}
