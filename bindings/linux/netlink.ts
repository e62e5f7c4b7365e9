/**
 * Netlink over our own system calls: one request at a time, its whole answer read before the next
 * (PG-36). The kernel answers at once; the wait is bounded all the same.
 */
import { copyOf } from "../../src/base/index.ts";
import { errnoNumber, hostError, isErrno } from "./errno.ts";
import { POLLIN } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import * as N from "./netlink-constants.ts";
import {
  isAcknowledgement,
  type NetlinkMessage,
  type NetlinkRequest,
  parseAcknowledgement,
  parseMessages,
  toMessageBytes,
} from "./netlink-message.ts";
import { AF_NETLINK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW } from "./socket-constants.ts";
import { pollOne, setSocketOption } from "./socket-option.ts";

export type NetlinkOutcome =
  | { readonly ok: true; readonly messages: readonly NetlinkMessage[] }
  /** `text` is the kernel's own explanation, where it gives one. */
  | { readonly ok: false; readonly errno: number; readonly text: string };

export interface Netlink {
  /** Sends a request with the given flags and returns its answers, which are copies. */
  request(request: NetlinkRequest, flags: number): NetlinkOutcome;
  /** Lists everything that matches; read again when it changed meanwhile. */
  dump(request: NetlinkRequest): NetlinkOutcome;
  close(): void;
}

const KERNEL_ANSWER_MS_MAX = 2000;
const DUMP_ATTEMPTS = 3;
/** A million routes take some ten thousand receives; beyond that something is wrong. */
const RECEIVES_MAX = 20_000;

/** @throws PosternError `host` */
export function openNetlink(kernel: Kernel): Netlink {
  const fd = openNetlinkSocket(kernel, 0);
  for (const option of [N.NETLINK_EXT_ACK, N.NETLINK_CAP_ACK, N.NETLINK_GET_STRICT_CHK]) {
    // Older kernels lack some: then texts are missing and dumps are filtered by us.
    setSocketOption(kernel, fd, N.SOL_NETLINK, option, 1);
  }
  let sequence = 0;

  function request(what: NetlinkRequest, flags: number): NetlinkOutcome {
    sequence = (sequence + 1) >>> 0;
    const bytes = toMessageBytes(what, N.NLM_F_REQUEST | flags, sequence);
    const sent = kernel.scratch.frame((room) =>
      kernel.sys.write(fd, room.put(bytes), bytes.length) < 0 ? kernel.sys.errno() : 0,
    );
    return sent === 0 ? collect(kernel, fd, sequence) : { ok: false, errno: sent, text: "" };
  }

  return {
    request: (what, flags) => request(what, flags | N.NLM_F_ACK),
    dump(what) {
      for (let attempt = 1; ; attempt++) {
        const outcome = request(what, N.NLM_F_DUMP);
        const isInterrupted =
          outcome.ok && outcome.messages.some((message) => (message.flags & N.NLM_F_DUMP_INTR) !== 0);
        if (!isInterrupted || attempt === DUMP_ATTEMPTS) return outcome;
      }
    },
    close: () => void kernel.sys.close(fd),
  };
}

/** Opens a non-blocking netlink socket, of rtnetlink by default, subscribed to `groups`. */
export function openNetlinkSocket(
  kernel: Kernel,
  groups: number,
  protocol: number = N.NETLINK_ROUTE,
): number {
  const { sys, scratch } = kernel;
  const fd = sys.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw hostError("cannot open a netlink socket", "socket", sys.errno());
  const errno = scratch.frame((room) => {
    const name = room.take(N.SOCKADDR_NL_BYTES);
    room.view.setUint16(name, AF_NETLINK, true);
    room.view.setUint32(name + 8, groups, true);
    return sys.bind(fd, name, N.SOCKADDR_NL_BYTES) < 0 ? sys.errno() : 0;
  });
  if (errno === 0) return fd;
  sys.close(fd);
  throw hostError("cannot bind a netlink socket", "bind", errno);
}

/** Reads until the acknowledgement or the end of the dump of this sequence number. */
function collect(kernel: Kernel, fd: number, sequence: number): NetlinkOutcome {
  const collected: NetlinkMessage[] = [];
  for (let receives = 0; receives < RECEIVES_MAX; receives++) {
    const messages = receive(kernel, fd);
    if (typeof messages === "number") return { ok: false, errno: messages, text: "" };
    for (const message of messages) {
      // A late answer to a request that was given up.
      if (message.sequence !== sequence) continue;
      if (isAcknowledgement(message)) {
        const answer = parseAcknowledgement(message);
        if (!answer.ok) return { ok: false, errno: errnoNumber("EBADFD"), text: "truncated answer" };
        if (answer.value.errno !== 0) return { ok: false, ...answer.value };
        return { ok: true, messages: collected };
      }
      collected.push(message);
      if (message.type === N.NLMSG_DONE) return endOfDump(collected, message);
    }
  }
  return { ok: false, errno: errnoNumber("ENOBUFS"), text: "endless answer" };
}

/** NLMSG_DONE carries the dump's own error. */
function endOfDump(collected: readonly NetlinkMessage[], done: NetlinkMessage): NetlinkOutcome {
  const { body } = done;
  const errno = body.length < 4 ? 0 : -new DataView(body.buffer, body.byteOffset, 4).getInt32(0, true);
  return errno > 0 ? { ok: false, errno, text: "" } : { ok: true, messages: collected };
}

/** One receive, as copies; an error number when none came in time. */
function receive(kernel: Kernel, fd: number): readonly NetlinkMessage[] | number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(N.RECEIVE_BYTES);
    let length = sys.read(fd, at, N.RECEIVE_BYTES);
    if (length < 0 && isErrno(sys.errno(), "EAGAIN")) {
      if (pollOne(kernel, fd, POLLIN, KERNEL_ANSWER_MS_MAX) === 0) return errnoNumber("ETIMEDOUT");
      length = sys.read(fd, at, N.RECEIVE_BYTES);
    }
    if (length < 0) return sys.errno();
    const messages = parseMessages(copyOf(room.bytes(at, length)));
    return messages.ok ? messages.value : errnoNumber("EBADFD");
  });
}
