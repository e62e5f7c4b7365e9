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
  type ConnectionEvent,
  type Connections,
  type ConnectionsOptions,
  type ConnectionTransmit,
  createConnections,
  type Datagram,
} from "../../src/connections/index.ts";
import type { DataPunt, PolicyTables, Publication } from "../../src/plane/index.ts";
import type { PlaneKind } from "../twin/driven-plane.ts";
import { createPolledPlane, type PolledPlane } from "../twin/polled-plane.ts";

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

export function createConnectionsOnPlane(
  options: Omit<ConnectionsOptions, "records">,
  kind: PlaneKind,
): ConnectionsOnPlane {
  const plane = createPolledPlane(kind, { mode: options.role });
  const connections = createConnections({ ...options, records: plane.records });
  const transmits: ConnectionTransmit[] = [];
  const punts: DataPunt[] = [];
  const publishing: Publication[] = [];
  let published = 0;

  /** Commands before what they announce (SN-124); what the plane says may cause more of them. */
  function settle(now: Instant): void {
    let isQuiet = false;
    while (!isQuiet) {
      isQuiet = true;
      for (
        let command = connections.pollCommand();
        command !== undefined;
        command = connections.pollCommand()
      ) {
        if (command.kind === "publish") {
          publishing.push(command);
          plane.publish(command.tables);
        } else {
          plane.execute(now, command);
          connections.handleCarriedOut(now, command);
        }
      }
      for (let sent = connections.pollTransmit(); sent !== undefined; sent = connections.pollTransmit())
        transmits.push(sent);
      for (let sent = plane.pollTransmit(); sent !== undefined; sent = plane.pollTransmit()) {
        transmits.push(sent);
      }
      for (let event = plane.pollEvent(); event !== undefined; event = plane.pollEvent()) {
        connections.handlePlaneEvent(now, event);
        isQuiet = false;
      }
      for (let punt = plane.pollPunt(); punt !== undefined; punt = plane.pollPunt()) {
        if (punt.reason !== "no-session") punts.push(punt);
        else connections.handlePunt(now, punt.slot, punt.packet);
        isQuiet = false;
      }
      for (; plane.published() > published; published++) {
        const publication = publishing.shift();
        if (publication !== undefined) connections.handleCarriedOut(now, publication);
        isQuiet = false;
      }
    }
  }

  return {
    connections,
    plane,
    apply(now, input) {
      const result = input(connections);
      settle(now);
      return result;
    },
    publish(tables) {
      plane.publish(tables);
      published++;
    },
    sendPacket(now, packet) {
      plane.sendPacket(now, packet);
      settle(now);
    },
    handleDatagram(now, datagram) {
      plane.handleDatagram(now, datagram);
      settle(now);
    },
    handleTimeout(now) {
      connections.handleTimeout(now);
      settle(now);
    },
    pollTimeout: () => connections.pollTimeout(),
    pollTransmit: () => transmits.shift(),
    pollEvent: () => connections.pollEvent(),
    pollPacket: () => plane.pollPacket(),
    pollPunt: () => punts.shift(),
  };
}
