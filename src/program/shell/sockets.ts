/** The transport's sockets as control uses them: sending single datagrams, and binding again (PG-66). */
import {
  type Datagram,
  type Kernel,
  openUdpSockets,
  sendDatagram,
  setMark,
  type UdpOptions,
  type UdpSocket,
  type UdpSockets,
} from "../../../bindings/linux/index.ts";
import { formatSocketAddress, type Log } from "../../base/index.ts";
import type { OutgoingDatagram } from "./loop.ts";

export interface Transport {
  readonly v4: UdpSocket | undefined;
  readonly v6: UdpSocket | undefined;
  /** The port, of whichever family there is. */
  port(): number;
  /** Never throws: what the network refuses is counted and, at DEBUG, logged (PG-46). */
  send(datagram: OutgoingDatagram): void;
  setMark(mark: number): void;
  counters(): TransportCounters;
  close(): void;
}

export interface TransportCounters {
  readonly sent: number;
  readonly busy: number;
  readonly noFamily: number;
  readonly tooLong: number;
  readonly unreachable: number;
  readonly blocked: number;
  readonly broken: number;
  readonly sourceLost: number;
}

/** @throws PosternError as `openUdpSockets` */
export function openTransport(kernel: Kernel, options: UdpOptions, log: Log): Transport {
  const sockets: UdpSockets = openUdpSockets(kernel, options);
  for (const { family, errno } of sockets.missing) log.info?.("no socket for a family", { family, errno });
  const { v4, v6 } = sockets;
  const counts = {
    sent: 0,
    busy: 0,
    noFamily: 0,
    tooLong: 0,
    unreachable: 0,
    blocked: 0,
    broken: 0,
    sourceLost: 0,
  };

  function send({ destination, source, bytes }: OutgoingDatagram): void {
    const socket = destination.address.length === 4 ? v4 : v6;
    if (socket === undefined) {
      counts.noFamily++;
      return;
    }
    const datagram: Datagram = { to: destination, bytes, ...(source && { source }) };
    const outcome = sendDatagram(kernel, socket.fd, datagram);
    if (outcome.kind === "sent") {
      counts.sent++;
      if (outcome.sourceLost) counts.sourceLost++;
      return;
    }
    if (outcome.kind === "busy") counts.busy++;
    else if (outcome.kind === "broken") counts.broken++;
    else if (outcome.reason === "too-long") counts.tooLong++;
    else counts[outcome.reason]++;
    const { errno } = outcome;
    log.debug?.("datagram not sent", { to: formatSocketAddress(destination), outcome: outcome.kind, errno });
  }

  return {
    v4,
    v6,
    port: () => v4?.port ?? v6?.port ?? 0,
    send,
    setMark(mark) {
      for (const socket of [v4, v6]) if (socket !== undefined) setMark(kernel, socket.fd, mark);
    },
    counters: () => ({ ...counts }),
    close: () => sockets.close(),
  };
}
