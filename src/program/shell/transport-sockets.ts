/** The plane's UDP sockets on a Linux host, as control opens them and sends by them (PG-41 to PG-46). */
import {
  errnoName,
  type Kernel,
  openUdpSockets,
  sendDatagram,
  sendWhole,
  type UdpOptions,
  type UdpSocket,
  type UdpSockets,
} from "../../../bindings/linux/index.ts";
import type { Log } from "../../base/index.ts";
import { raiseBufferLimits } from "../../host/index.ts";
import type { ShellTransmit } from "./shell.ts";
import type { SocketErrors } from "./socket-errors.ts";

/** Requested socket buffers (PG §1, `SNDBUF`, `RCVBUF`). */
export const SEND_BUFFER_BYTES = 16 << 20;
export const RECEIVE_BUFFER_BYTES = 128 << 20;
export const NO_SOCKETS: UdpSockets = { others: [], missing: [], close: () => {} };

export interface OpenSocketsOptions {
  /** Raise the system's limits where the buffers are refused (PG-44). */
  readonly raisesLimits?: boolean;
  readonly log: Log;
}

/**
 * Opens the sockets; where smaller buffers were granted, with the limits raised if that is wanted (PG-44).
 * @throws PosternError as `openUdpSockets`
 */
export function openTransportSockets(
  kernel: Kernel,
  udp: UdpOptions,
  { raisesLimits = false, log }: OpenSocketsOptions,
): UdpSockets {
  let sockets = openUdpSockets(kernel, udp);
  const { sendBufferBytes: sendBytes, receiveBufferBytes: receiveBytes } = udp;
  const isShort = (socket: UdpSocket | undefined): boolean =>
    socket !== undefined && (socket.sendBufferBytes < sendBytes || socket.receiveBufferBytes < receiveBytes);
  if (raisesLimits && (isShort(sockets.v4) || isShort(sockets.v6))) {
    sockets.close();
    raiseBufferLimits({ sendBytes, receiveBytes }, log);
    sockets = openUdpSockets(kernel, udp);
  }
  reportSockets(sockets, udp, log);
  return sockets;
}

function reportSockets(sockets: UdpSockets, udp: UdpOptions, log: Log): void {
  for (const { family, errno } of sockets.missing) {
    log.info?.("no UDP socket", { family: `IPv${family}`, errno: errnoName(errno) });
  }
  for (const socket of [sockets.v4, sockets.v6]) {
    if (socket === undefined) continue;
    const { family, port, sendBufferBytes, receiveBufferBytes } = socket;
    log.debug?.("UDP socket", {
      family,
      port,
      sendBufferBytes,
      receiveBufferBytes,
      wanted: [udp.sendBufferBytes, udp.receiveBufferBytes],
    });
  }
}

/** Of each family and pair. */
export function allSockets({ v4, v6, others }: UdpSockets): readonly UdpSocket[] {
  const pairs = [{ v4, v6 }, ...others];
  return pairs.flatMap((pair) => [pair.v4, pair.v6]).filter((socket) => socket !== undefined);
}

export interface TransportParts {
  readonly kernel: Kernel;
  readonly sockets: UdpSockets;
  readonly errors: SocketErrors;
  readonly log: Log;
}

/** Sends one datagram of control on the socket of its family, without blocking (D-10, PG-46). */
export function sendControl(
  { kernel, sockets, errors, log }: TransportParts,
  { destination, source, bytes, isWhole }: ShellTransmit,
): "done" | "busy" {
  const socket = destination.address.length === 4 ? sockets.v4 : sockets.v6;
  // A family that the host does not have: the path will fail by its own time-outs.
  if (socket === undefined) return "done";
  const datagram = source === undefined ? { to: destination, bytes } : { to: destination, source, bytes };
  const outcome = (isWhole ? sendWhole : sendDatagram)(kernel, socket.fd, datagram);
  if (outcome.kind === "broken") {
    log.warn?.("cannot send on the transport socket", { errno: errnoName(outcome.errno) });
  }
  if (outcome.kind === "dropped" && outcome.reason === "blocked") errors.blocked();
  return outcome.kind === "busy" ? "busy" : "done";
}
