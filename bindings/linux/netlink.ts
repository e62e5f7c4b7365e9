/**
 * Netlink over our own system calls: one request at a time, its whole answer read before the next
 * (PG-36). The kernel answers at once; the wait is bounded all the same. What it is short of for a moment
 * is asked again.
 */
import { concatBytes, copyOf } from "../../src/base/index.ts";
import { errnoName, errnoNumber, hostError, isErrno } from "./errno.ts";
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
  /**
   * `text` is the kernel's own explanation, where it gives one. `isLost`: it may have carried the request out, but
   * its answer could not be read.
   */
  | { readonly ok: false; readonly errno: number; readonly text: string; readonly isLost?: true };

/** Why the kernel refused a change: `EEXIST`, or `EINVAL: Invalid prefix for given prefix length`. */
export interface Refusal {
  readonly errno: number;
  readonly message: string;
}

export interface Netlink {
  /** Sends a request with the given flags and returns its answers, which are copies. */
  request(request: NetlinkRequest, flags: number): NetlinkOutcome;
  /** The same of a request that must not be made twice, which is not sent again when its answer is lost. */
  requestOnce(request: NetlinkRequest, flags: number): NetlinkOutcome;
  /**
   * Sends several requests as one datagram, the last of which asks for an acknowledgement. The first refusal
   * counts.
   */
  requestAll(requests: readonly FlaggedRequest[]): NetlinkOutcome;
  /** Lists everything that matches; read again when it changed meanwhile. */
  dump(request: NetlinkRequest): NetlinkOutcome;
  close(): void;
}

export interface FlaggedRequest {
  readonly request: NetlinkRequest;
  readonly flags: number;
}

const KERNEL_ANSWER_MS_MAX = 2000;
/** Of a request, and of a dump. */
const ATTEMPTS_EACH = 3;
/** The kernel was short of something, or has a dump under way whose end nobody has read. */
const PASSING = ["EINTR", "EAGAIN", "ENOMEM", "EBUSY", "ENOBUFS"] as const;
/** How the kernel answers to what it has carried out before. */
const DONE_BEFORE = ["EEXIST", "ENOENT", "ESRCH", "EADDRNOTAVAIL"] as const;
/** A million routes take some ten thousand receives; beyond that something is wrong. */
const RECEIVES_MAX = 20_000;

/** @throws PosternError `host` */
export function openNetlink(kernel: Kernel, protocol: number = N.NETLINK_ROUTE): Netlink {
  const fd = openNetlinkSocket(kernel, 0, protocol);
  for (const option of [N.NETLINK_EXT_ACK, N.NETLINK_CAP_ACK, N.NETLINK_GET_STRICT_CHK]) {
    // Older kernels lack some: then texts are missing and dumps are filtered by us.
    setSocketOption(kernel, fd, N.SOL_NETLINK, option, 1);
  }
  let sequence = 0;

  function toBytes({ request, flags }: FlaggedRequest): Uint8Array {
    sequence = (sequence + 1) >>> 0;
    return toMessageBytes(request, N.NLM_F_REQUEST | flags, sequence);
  }

  function request(what: NetlinkRequest, flags: number, isOnce = false): NetlinkOutcome {
    let isUnsure = false;
    for (let attempt = 1; ; attempt++) {
      const errno = send(kernel, fd, toBytes({ request: what, flags }));
      const answer = errno === 0 ? collect(kernel, fd, sequence) : toUnread(errno);
      if (answer.isRead) {
        // Its first answer was lost, and this one says that nothing was left to do.
        const isDone = isUnsure && !answer.outcome.ok && isErrno(answer.outcome.errno, ...DONE_BEFORE);
        return isDone ? { ok: true, messages: [] } : answer.outcome;
      }
      discardAll(kernel, fd);
      if (isOnce && errno === 0) return { ok: false, errno: answer.errno, text: "", isLost: true };
      if (attempt === ATTEMPTS_EACH || !isErrno(answer.errno, ...PASSING)) return toFailure(answer.errno);
      isUnsure ||= errno === 0;
    }
  }

  return {
    request: (what, flags) => request(what, flags | N.NLM_F_ACK),
    requestOnce: (what, flags) => request(what, flags | N.NLM_F_ACK, true),
    requestAll(requests) {
      const first = (sequence + 1) >>> 0;
      const bytes = concatBytes(...requests.map(toBytes));
      let errno = send(kernel, fd, bytes);
      // What was not sent was not carried out.
      for (let attempt = 1; attempt < ATTEMPTS_EACH && isErrno(errno, ...PASSING); attempt++)
        errno = send(kernel, fd, bytes);
      return errno === 0 ? collectAll(kernel, fd, first, requests.length) : toFailure(errno);
    },
    dump(what) {
      for (let attempt = 1; ; attempt++) {
        const outcome = request(what, N.NLM_F_DUMP);
        const isWhole = outcome.ok
          ? outcome.messages.every((message) => (message.flags & N.NLM_F_DUMP_INTR) === 0)
          : !isErrno(outcome.errno, ...PASSING);
        if (isWhole || attempt === ATTEMPTS_EACH) return outcome;
      }
    },
    close: () => void kernel.sys.close(fd),
  };
}

/** What the kernel said, or the number of the error for which it was not heard. */
type Answer =
  | { readonly isRead: true; readonly outcome: NetlinkOutcome }
  | { readonly isRead: false; readonly errno: number };

function toRead(outcome: NetlinkOutcome): Answer {
  return { isRead: true, outcome };
}

function toUnread(errno: number): Answer {
  return { isRead: false, errno };
}

function toFailure(errno: number, text = ""): NetlinkOutcome {
  return { ok: false, errno, text };
}

export function toRefusal(outcome: NetlinkOutcome): Refusal | undefined {
  if (outcome.ok) return undefined;
  const name = errnoName(outcome.errno);
  return { errno: outcome.errno, message: outcome.text === "" ? name : `${name}: ${outcome.text}` };
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

/** Returns an error number, 0 for none. */
function send(kernel: Kernel, fd: number, bytes: Uint8Array): number {
  return kernel.scratch.frame((room) =>
    kernel.sys.write(fd, room.put(bytes), bytes.length) < 0 ? kernel.sys.errno() : 0,
  );
}

/**
 * What the kernel has answered to these requests by the time the write returned: everything, for it does the work
 * meanwhile.
 */
function collectAll(kernel: Kernel, fd: number, first: number, count: number): NetlinkOutcome {
  let isAcknowledged = false;
  let refusal: NetlinkOutcome | undefined;
  for (let receives = 0; receives < RECEIVES_MAX; receives++) {
    const messages = receive(kernel, fd, 0);
    if (typeof messages === "number") {
      if (isErrno(messages, "ETIMEDOUT")) break;
      discardAll(kernel, fd);
      return refusal ?? toFailure(messages);
    }
    for (const message of messages.filter(isAcknowledgement)) {
      if ((message.sequence - first) >>> 0 >= count) continue;
      const answer = parseAcknowledgement(message);
      isAcknowledged = true;
      if (!answer.ok || answer.value.errno !== 0) refusal ??= refusedBy(answer);
    }
  }
  if (refusal !== undefined) return refusal;
  return isAcknowledged ? { ok: true, messages: [] } : toFailure(errnoNumber("ETIMEDOUT"));
}

/** Reads until the acknowledgement or the end of the dump of this sequence number. */
function collect(kernel: Kernel, fd: number, sequence: number): Answer {
  const collected: NetlinkMessage[] = [];
  for (let receives = 0; receives < RECEIVES_MAX; receives++) {
    const messages = receive(kernel, fd);
    if (typeof messages === "number") return toUnread(messages);
    for (const message of messages) {
      // A late answer to a request that was given up.
      if (message.sequence !== sequence) continue;
      if (isAcknowledgement(message)) {
        const answer = parseAcknowledgement(message);
        if (!answer.ok || answer.value.errno !== 0) return toRead(refusedBy(answer));
        return toRead({ ok: true, messages: collected });
      }
      collected.push(message);
      if (message.type === N.NLMSG_DONE) return toRead(endOfDump(collected, message));
    }
  }
  return toRead(toFailure(errnoNumber("ENOBUFS"), "endless answer"));
}

/**
 * Throws away what waits in a netlink socket. Behind something that did not fit the kernel puts nothing more into it
 * before it is empty: no event, and no answer to the next request.
 */
export function discardAll({ sys, scratch }: Kernel, fd: number): void {
  scratch.frame((room) => {
    const at = room.take(N.RECEIVE_BYTES);
    for (let receives = 0; receives < RECEIVES_MAX; receives++) {
      if (sys.read(fd, at, N.RECEIVE_BYTES) < 0 && !isErrno(sys.errno(), "ENOBUFS", "EINTR")) return;
    }
  });
}

function refusedBy(answer: ReturnType<typeof parseAcknowledgement>): NetlinkOutcome {
  if (!answer.ok) return toFailure(errnoNumber("EBADFD"), "truncated answer");
  return { ok: false, ...answer.value };
}

/** NLMSG_DONE carries the dump's own error. */
function endOfDump(collected: readonly NetlinkMessage[], done: NetlinkMessage): NetlinkOutcome {
  const { body } = done;
  const errno = body.length < 4 ? 0 : -new DataView(body.buffer, body.byteOffset, 4).getInt32(0, true);
  return errno > 0 ? toFailure(errno) : { ok: true, messages: collected };
}

/** One receive, as copies; an error number when none came in time. */
function receive(
  kernel: Kernel,
  fd: number,
  withinMs = KERNEL_ANSWER_MS_MAX,
): readonly NetlinkMessage[] | number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(N.RECEIVE_BYTES);
    let length = sys.read(fd, at, N.RECEIVE_BYTES);
    if (length < 0 && isErrno(sys.errno(), "EAGAIN")) {
      if (pollOne(kernel, fd, POLLIN, withinMs) === 0) return errnoNumber("ETIMEDOUT");
      length = sys.read(fd, at, N.RECEIVE_BYTES);
    }
    if (length < 0) return sys.errno();
    const messages = parseMessages(copyOf(room.bytes(at, length)));
    return messages.ok ? messages.value : errnoNumber("EBADFD");
  });
}
