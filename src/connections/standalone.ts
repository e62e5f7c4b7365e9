/**
 * The connections with a packet plane in TypeScript, in one thread and without any memory shared (SN-130).
 * Simulation, tests and embedding without workers use it.
 *
 *     apply, sendPacket, handleDatagram, handleTimeout
 *        │
 *        ▼      commands ▼         ▲ events, no-session punts
 *      machine ◀──────────── plane twin ────────────▶ packets, other punts
 */
import type { Instant } from "../base/index.ts";
import type { DataPunt, PolicyTables, Publication } from "../plane/index.ts";
import { createConnections } from "./connections.ts";
import type {
  ConnectionEvent,
  Connections,
  ConnectionsOptions,
  ConnectionTransmit,
  Datagram,
} from "./face.ts";
import { createPlaneTwin, type PlaneTwin } from "./plane-twin.ts";

export interface StandaloneNode {
  /** For questions only; every input goes through `apply`. */
  readonly connections: Connections;
  readonly plane: PlaneTwin;
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
  /** A packet for the TUN device, and the connection it came by. */
  pollPacket(): { readonly id: string; readonly packet: Uint8Array } | undefined;
  /** Punts for the layer above: all but `no-session`. */
  pollPunt(): DataPunt | undefined;
}

export function createStandaloneNode(options: Omit<ConnectionsOptions, "records">): StandaloneNode {
  const plane = createPlaneTwin({ mode: options.role });
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
        const { source, destination, bytes } = sent;
        transmits.push({ ...(source && { source }), destination, bytes });
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
    pollPacket() {
      for (let next = plane.pollPacket(); next !== undefined; next = plane.pollPacket()) {
        const id = connections.connectionOf(next.slot);
        // What a peer sent that was closed in the meantime has no place to go.
        if (id !== undefined) return { id, packet: next.packet };
      }
      return undefined;
    },
    pollPunt: () => punts.shift(),
  };
}
