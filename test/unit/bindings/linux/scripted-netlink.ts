/** A kernel whose netlink sockets answer as a script says. */
import { type ErrnoName, errnoNumber, type Kernel, openKernel } from "../../../../bindings/linux/index.ts";

/** What a read gives: bytes of messages, or an error. */
export type Reading = Uint8Array | ErrnoName;

export interface ScriptedNetlink extends Kernel {
  /** Of all that was written, in order: sequence number and type of each message. */
  readonly requests: { readonly sequence: number; readonly type: number }[];
  /** What waits to be read. */
  readonly waiting: Reading[];
  readonly open: Set<number>;
  /** Descriptors that were closed while nobody had them open: by now they may be another's. */
  readonly closedAgain: number[];
}

export interface NetlinkScript {
  /** What a write says for itself; a name: it is refused. */
  readonly write?: (nth: number) => ErrnoName | undefined;
  /** What is to be read behind it. */
  readonly answer?: (sequence: number, nth: number) => readonly Reading[];
  readonly socket?: (nth: number) => ErrnoName | undefined;
}

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

/** `[length][type][flags][sequence][port] body` */
export function message(type: number, sequence: number, body: Uint8Array = new Uint8Array(), flags = 0) {
  const bytes = new Uint8Array(16 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  bytes.set(body, 16);
  return bytes;
}

/** The kernel's verdict: 0 is success. */
export function verdict(sequence: number, name?: ErrnoName): Uint8Array {
  const body = new Uint8Array(20);
  new DataView(body.buffer).setInt32(0, name === undefined ? 0 : -errnoNumber(name), true);
  return message(NLMSG_ERROR, sequence, body);
}

export function done(sequence: number): Uint8Array {
  return message(NLMSG_DONE, sequence, new Uint8Array(4));
}

export function scriptedNetlink(script: NetlinkScript): ScriptedNetlink {
  const { sys, scratch } = openKernel();
  const requests: ScriptedNetlink["requests"] = [];
  const waiting: Reading[] = [];
  const open = new Set<number>();
  const closedAgain: number[] = [];
  let [errno, next, writes, sockets] = [0, 100, 0, 0];
  const fail = (name: ErrnoName): number => {
    errno = errnoNumber(name);
    return -1;
  };
  return {
    ...{ scratch, requests, waiting, open, closedAgain },
    sys: {
      ...sys,
      errno: () => errno,
      socket() {
        const refusal = script.socket?.(++sockets);
        if (refusal !== undefined) return fail(refusal);
        open.add(++next);
        return next;
      },
      bind: () => 0,
      setsockopt: () => 0,
      close(fd) {
        if (open.delete(fd)) return 0;
        closedAgain.push(fd);
        return fail("EBADF");
      },
      poll: () => 0,
      write(_fd, offset, length) {
        writes++;
        const refusal = script.write?.(writes);
        if (refusal !== undefined) return fail(refusal);
        scratch.frame(({ view }) => {
          for (let at = offset; at < offset + length; at += view.getUint32(at, true)) {
            const sequence = view.getUint32(at + 8, true);
            requests.push({ sequence, type: view.getUint16(at + 4, true) });
          }
        });
        waiting.push(...(script.answer?.(requests.at(-1)?.sequence ?? 0, writes) ?? []));
        return length;
      },
      read(_fd, offset) {
        const reading = waiting.shift() ?? "EAGAIN";
        if (typeof reading === "string") return fail(reading);
        scratch.frame((room) => room.bytes(offset, reading.length).set(reading));
        return reading.length;
      },
    },
  };
}
