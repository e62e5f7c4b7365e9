/** A plane that is asked for what it has said, one thing at a time, as machines are (D-2). */
import type { Reason } from "../../bindings/memory/index.ts";
import type { Instant, IpAddress, SocketAddress } from "../../src/base/index.ts";
import type {
  DataPunt,
  PlaneCommand,
  PlaneEvent,
  PlaneFlows,
  PlaneRecords,
  PolicyTables,
} from "../../src/plane/index.ts";
import {
  createDrivenPlane,
  type DrivenPlaneOptions,
  frameOf,
  type PlaneKind,
  type SealedDatagram,
  type WorkerTally,
} from "./driven-plane.ts";

export interface PolledPlane {
  readonly records: PlaneRecords;
  readonly flows: PlaneFlows;
  execute(now: Instant, command: PlaneCommand): void;
  publish(tables: PolicyTables): void;
  /** How many publications are complete; asked when all punts have been handled (SN-139). */
  published(): number;
  /** All that was taken has been handled (TN-87). */
  releaseFlows(): boolean;
  /** A datagram from the network. */
  handleDatagram(now: Instant, datagram: PlaneDatagram): void;
  /** An IP packet from the TUN device. */
  sendPacket(now: Instant, packet: Uint8Array): void;
  pollTransmit(): PlaneTransmit | undefined;
  /** An IP packet for the TUN device. */
  pollPacket(): Uint8Array | undefined;
  pollEvent(): PlaneEvent | undefined;
  pollPunt(): DataPunt | undefined;
  /** Packets and datagrams that were handed to control so far. */
  punted(): number;
  tallies(): { readonly egress: WorkerTally; readonly ingress: WorkerTally };
  /** Drops by reason, of both directions. */
  drops(): Readonly<Partial<Record<Reason, number>>>;
}

/** A sealed datagram, in the form in which machines give theirs. */
export interface PlaneTransmit {
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
}

export interface PlaneDatagram {
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
  readonly local: SocketAddress;
}

export function createPolledPlane(kind: PlaneKind, options: DrivenPlaneOptions): PolledPlane {
  const plane = createDrivenPlane(kind, options);
  const transmits: SealedDatagram[] = [];
  const packets: Uint8Array[] = [];
  const events: PlaneEvent[] = [];
  const punts: DataPunt[] = [];
  /** Ports of the sockets, by the length of their addresses: a plane in process has none (PG-42). */
  const ports = new Map<number, number>();

  function withPort(event: PlaneEvent): PlaneEvent {
    if (!("bytes" in event)) return event;
    const { address } = event.local;
    return { ...event, local: { address, port: ports.get(address.length) ?? 0 } };
  }

  return {
    records: plane.records,
    flows: plane.flows,
    execute(now, command) {
      plane.execute(command);
      if (command.kind === "inject") transmits.push(...plane.egress(now));
    },
    publish: (tables) => plane.publish(tables),
    published: () => plane.published(),
    releaseFlows: () => plane.releaseFlows(),
    handleDatagram(now, { bytes, from, local }) {
      ports.set(local.address.length, local.port);
      packets.push(...plane.ingress(now, { bytes, from, local: local.address }));
    },
    sendPacket(now, packet) {
      transmits.push(...plane.egress(now, frameOf(packet)));
    },
    pollTransmit() {
      const sent = transmits.shift();
      return sent && { ...(sent.source && { source: sent.source }), destination: sent.to, bytes: sent.bytes };
    },
    pollPacket: () => packets.shift(),
    pollEvent() {
      events.push(...plane.takeEvents().map(withPort));
      return events.shift();
    },
    pollPunt() {
      punts.push(...plane.takePunts());
      return punts.shift();
    },
    punted() {
      const { egress, ingress } = plane.tallies();
      return egress.counters.packets_punted + ingress.counters.packets_punted;
    },
    tallies: () => plane.tallies(),
    drops() {
      const { egress, ingress } = plane.tallies();
      const all: Partial<Record<Reason, number>> = { ...egress.drops };
      for (const [name, packets] of Object.entries(ingress.drops)) {
        // The keys of a table of reasons.
        const reason = name as Reason;
        all[reason] = (all[reason] ?? 0) + packets;
      }
      return all;
    },
  };
}
