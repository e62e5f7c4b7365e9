/**
 * Single datagrams of control itself, on the sockets that the plane's workers use (D-10): STUN,
 * handshakes, answers. Never blocks.
 */
import { copyOf, type SocketAddress } from "../../src/base/index.ts";
import type { ScratchRoom } from "../sys/index.ts";
import {
  CONTROL_BYTES_MAX,
  encodeControl,
  parseControl,
  type ReceivedControl,
  type SendControl,
} from "./control-message.ts";
import { isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr, parseSockaddr } from "./sockaddr.ts";
import {
  IOVEC_BYTES,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  MSGHDR_BYTES,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
  SOCKADDR_IN6_BYTES,
} from "./socket-constants.ts";

export interface Datagram extends SendControl {
  readonly to: SocketAddress;
  readonly bytes: Uint8Array;
}

/** What became of a datagram, after the table of PG-46. */
export type SendOutcome =
  /** `sourceLost`: it went, but from another address, as the host no longer has the fixed one (PF-41a). */
  | { readonly kind: "sent"; readonly sourceLost: boolean }
  /** The socket's buffer or the device's queue is full: the same datagram may be sent again later. */
  | { readonly kind: "busy"; readonly errno: number }
  | { readonly kind: "dropped"; readonly reason: DropReason; readonly errno: number }
  /** The descriptor is of no use any more: bind again. */
  | { readonly kind: "broken"; readonly errno: number };

export type DropReason = "too-long" | "unreachable" | "blocked";

/** Sends one datagram (or, with `segmentBytes`, several of equal size). `fd` is of `to`'s family. */
export function sendDatagram(kernel: Kernel, fd: number, datagram: Datagram): SendOutcome {
  const errno = trySend(kernel, fd, datagram);
  if (errno === 0) return { kind: "sent", sourceLost: false };
  if (datagram.source !== undefined && isErrno(errno, "ENETUNREACH", "EINVAL", "EADDRNOTAVAIL")) {
    // The kernel says ENETUNREACH for a source that the host has lost (PF-41a). A peer that roams
    // would stay silent until its next handshake if we did not try the kernel's own choice.
    const { source: _lost, ...free } = datagram;
    const again = trySend(kernel, fd, free);
    return again === 0 ? { kind: "sent", sourceLost: true } : toOutcome(again);
  }
  return toOutcome(errno);
}

function trySend(kernel: Kernel, fd: number, datagram: Datagram): number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const name = room.take(SOCKADDR_IN6_BYTES);
    const nameBytes = encodeSockaddr(datagram.to, room.bytes(name, SOCKADDR_IN6_BYTES));
    const control = room.take(CONTROL_BYTES_MAX);
    const family = datagram.to.address.length === 4 ? 4 : 6;
    const controlBytes = encodeControl(family, datagram, room.bytes(control, CONTROL_BYTES_MAX));
    const payload = room.put(datagram.bytes);
    const header = putHeader(room, sys.base, {
      name,
      nameBytes,
      payload,
      payloadBytes: datagram.bytes.length,
      control,
      controlBytes,
    });
    return sys.sendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? sys.errno() : 0;
  });
}

function toOutcome(errno: number): SendOutcome {
  if (isErrno(errno, "EAGAIN", "ENOBUFS")) return { kind: "busy", errno };
  if (isErrno(errno, "EMSGSIZE")) return { kind: "dropped", reason: "too-long", errno };
  if (isErrno(errno, "EPERM", "EACCES")) return { kind: "dropped", reason: "blocked", errno };
  if (isErrno(errno, "ENETUNREACH", "EHOSTUNREACH", "EHOSTDOWN", "EADDRNOTAVAIL", "EINVAL", "ECONNREFUSED")) {
    return { kind: "dropped", reason: "unreachable", errno };
  }
  return { kind: "broken", errno };
}

export interface ReceivedDatagram {
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
  readonly control: ReceivedControl;
}

/**
 * Takes one datagram or GRO run off a socket that no worker reads: before the plane runs, and in
 * tests. `undefined` when there is none, or when the kernel refuses.
 */
export function receiveDatagram(kernel: Kernel, fd: number): ReceivedDatagram | undefined {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const name = room.take(SOCKADDR_IN6_BYTES);
    const control = room.take(CONTROL_BYTES_MAX);
    const payload = room.take(DATAGRAM_BYTES_MAX);
    const header = putHeader(room, sys.base, {
      name,
      nameBytes: SOCKADDR_IN6_BYTES,
      payload,
      payloadBytes: DATAGRAM_BYTES_MAX,
      control,
      controlBytes: CONTROL_BYTES_MAX,
    });
    const length = sys.recvmsg(fd, header, MSG_DONTWAIT);
    if (length < 0) return undefined;
    const flags = room.view.getInt32(header + MSGHDR_FLAGS, true);
    const controlBytes = Number(room.view.getBigUint64(header + MSGHDR_CONTROL_BYTES, true));
    const from = parseSockaddr(room.bytes(name, room.view.getUint32(header + MSGHDR_NAME_BYTES, true)));
    const told = parseControl(room.bytes(control, controlBytes));
    if (!from.ok || !told.ok || (flags & (MSG_CTRUNC | MSG_TRUNC)) !== 0) return undefined;
    return { bytes: copyOf(room.bytes(payload, length)), from: from.value, control: told.value };
  });
}

/** A whole GRO run (PF-42). */
const DATAGRAM_BYTES_MAX = 0x10000;

interface MessageParts {
  readonly name: number;
  readonly nameBytes: number;
  readonly payload: number;
  readonly payloadBytes: number;
  readonly control: number;
  readonly controlBytes: number;
}

/** Lays out `struct msghdr` with one `iovec` behind it; its own pointers are absolute (PF-20). */
function putHeader(room: ScratchRoom, base: bigint, parts: MessageParts): number {
  const header = room.take(MSGHDR_BYTES);
  const vector = room.take(IOVEC_BYTES);
  const { view } = room;
  const pointer = (at: number, offset: number): void => view.setBigUint64(at, base + BigInt(offset), true);
  pointer(vector, parts.payload);
  view.setBigUint64(vector + 8, BigInt(parts.payloadBytes), true);
  pointer(header + MSGHDR_NAME, parts.name);
  view.setUint32(header + MSGHDR_NAME_BYTES, parts.nameBytes, true);
  pointer(header + MSGHDR_IOV, vector);
  view.setBigUint64(header + MSGHDR_IOV_COUNT, 1n, true);
  if (parts.controlBytes > 0) {
    pointer(header + MSGHDR_CONTROL, parts.control);
    view.setBigUint64(header + MSGHDR_CONTROL_BYTES, BigInt(parts.controlBytes), true);
  }
  return header;
}
