/** Sockets whose kernel says what a real one says rarely: missing families, refused marks, full queues. */
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  type ErrnoName,
  errnoName,
  errnoNumber,
  errnoOf,
  type Kernel,
  openKernel,
  openUdpSockets,
  readPathMtu,
  type SendOutcome,
  sendDatagram,
  type UdpOptions,
} from "../../../../bindings/linux/index.ts";
import { openSysCalls } from "../../../../bindings/sys/index.ts";
import { ip, PosternError } from "../../../../src/base/index.ts";

const AF_INET6 = 10;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_RXQ_OVFL = 40;
const SO_RCVBUFFORCE = 33;
const SO_SNDBUFFORCE = 32;
const UDP_GRO = 104;

interface Script {
  readonly socket?: (family: 4 | 6) => ErrnoName | undefined;
  readonly bind?: (family: 4 | 6, port: number) => ErrnoName | undefined;
  readonly setsockopt?: (name: number, level: number) => ErrnoName | undefined;
  readonly sendmsg?: (hasControl: boolean) => ErrnoName | undefined;
}

/** A kernel that follows a script; `open` are the descriptors that nobody has closed. */
function scripted(script: Script): Kernel & { readonly open: Map<number, 4 | 6> } {
  const { sys, scratch } = openKernel();
  const open = new Map<number, 4 | 6>();
  const ports = new Map<number, number>();
  let next = 100;
  let errno = 0;
  const say = (name: ErrnoName | undefined): number => {
    if (name !== undefined) errno = errnoNumber(name);
    return name === undefined ? 0 : -1;
  };
  const familyOf = (fd: number): 4 | 6 => open.get(fd) ?? 4;
  return {
    scratch,
    open,
    sys: {
      ...sys,
      errno: () => errno,
      socket(domain) {
        const family = domain === AF_INET6 ? 6 : 4;
        if (say(script.socket?.(family)) < 0) return -1;
        open.set(++next, family);
        return next;
      },
      close(fd) {
        return open.delete(fd) ? 0 : say("EBADF");
      },
      bind(fd, offset) {
        const asked = scratch.frame((room) => room.view.getUint16(offset + 2, false));
        if (say(script.bind?.(familyOf(fd), asked)) < 0) return -1;
        ports.set(fd, asked === 0 ? 40000 + fd : asked);
        return 0;
      },
      getsockname(fd, offset, lengthOffset) {
        return scratch.frame((room) => {
          const family = familyOf(fd);
          room.view.setUint16(offset, family === 6 ? AF_INET6 : 2, true);
          room.view.setUint16(offset + 2, ports.get(fd) ?? 0, false);
          room.view.setUint32(lengthOffset, family === 6 ? 28 : 16, true);
          return 0;
        });
      },
      setsockopt: (_fd, level, name) => say(script.setsockopt?.(name, level)),
      getsockopt: () => 0,
      sendmsg(_fd, offset) {
        const controlBytes = scratch.frame((room) => room.view.getBigUint64(offset + 40, true));
        return say(script.sendmsg?.(controlBytes > 0n));
      },
    },
  };
}

const OPTIONS: UdpOptions = {
  port: { kind: "preferred", port: 52625 },
  mark: 1,
  gro: true,
  sendBufferBytes: 1000,
  receiveBufferBytes: 1000,
};

/** What opening throws: `code: message, errno`, and that nothing stays open. */
function refusal(kernel: ReturnType<typeof scripted>, options: Partial<UdpOptions> = {}): string {
  try {
    openUdpSockets(kernel, { ...OPTIONS, ...options });
  } catch (error) {
    expect(kernel.open.size).toBe(0);
    if (error instanceof PosternError)
      return `${error.code}: ${error.message}, ${errnoName(errnoOf(error) ?? 0)}`;
  }
  return "opened";
}

describe("UDP sockets against a scripted kernel", () => {
  it("PG-41: a missing family is told, not thrown", () => {
    const kernel = scripted({ socket: (family) => (family === 6 ? "EAFNOSUPPORT" : undefined) });
    const sockets = openUdpSockets(kernel, OPTIONS);
    expect(sockets.v4?.port).toBe(52625);
    expect(sockets.v6).toBeUndefined();
    expect(sockets.missing).toEqual([{ family: 6, errno: errnoNumber("EAFNOSUPPORT") }]);
    sockets.close();
    expect(kernel.open.size).toBe(0);
  });

  it("PG-41: without any family there are no UDP sockets", () => {
    expect(refusal(scripted({ socket: () => "EAFNOSUPPORT" }))).toBe(
      "host: no UDP sockets available: address family not supported (EAFNOSUPPORT), EAFNOSUPPORT",
    );
  });

  it("WG-57: a fixed port goes on without a family that the host lacks, not without one that is taken", () => {
    const port = { kind: "fixed", port: 51820 } as const;
    const lacking = scripted({ bind: (family) => (family === 6 ? "EADDRNOTAVAIL" : undefined) });
    expect(openUdpSockets(lacking, { ...OPTIONS, port }).v4?.port).toBe(51820);
    const taken = scripted({ bind: (family) => (family === 6 ? "EADDRINUSE" : undefined) });
    expect(refusal(taken, { port })).toBe(
      "host: cannot bind UDP port 51820: address in use (EADDRINUSE), EADDRINUSE",
    );
  });

  it("WG-57: any port is tried anew while the second family's is taken, eight times at most", () => {
    const port = { kind: "any" } as const;
    let refusals = 7;
    const busy = scripted({ bind: (family) => (family === 6 && refusals-- > 0 ? "EADDRINUSE" : undefined) });
    const sockets = openUdpSockets(busy, { ...OPTIONS, port });
    expect(sockets.v6?.port).toBe(sockets.v4?.port);
    expect(busy.open.size).toBe(2);
    const always = scripted({ bind: (family) => (family === 6 ? "EADDRINUSE" : undefined) });
    expect(refusal(always, { port })).toContain("cannot find a port that is free for IPv4 and IPv6");
  });

  it("PG-41: a family whose options are refused is missing, and nothing of it stays open", () => {
    const V6ONLY = 26;
    const PKTINFO = 8;
    const without = (refused: number) =>
      scripted({ setsockopt: (name) => (name === refused ? "EINVAL" : undefined) });
    const kernel = without(V6ONLY);
    const sockets = openUdpSockets(kernel, OPTIONS);
    expect(sockets.missing).toEqual([{ family: 6, errno: errnoNumber("EINVAL") }]);
    expect(kernel.open.size).toBe(1);
    sockets.close();
    expect(openUdpSockets(without(PKTINFO), OPTIONS).v6?.port).toBe(52625);
    // An administrator wrote the port down, for both.
    expect(refusal(without(V6ONLY), { port: { kind: "fixed", port: 51820 } })).toBe(
      "host: no UDP sockets available: invalid argument (EINVAL), EINVAL",
    );
  });

  it("PG-41: a mark that only the second socket is refused leaves the first closed", () => {
    let marks = 0;
    const kernel = scripted({
      setsockopt: (name) => (name === SO_MARK && ++marks === 2 ? "EPERM" : undefined),
    });
    expect(refusal(kernel)).toBe("privilege: cannot mark a socket: EPERM, EPERM");
  });

  it("PG-176: a port that cannot be shared is told as that", () => {
    const REUSEPORT = 15;
    let asked = 0;
    const kernel = scripted({
      setsockopt: (name) => (name === REUSEPORT && ++asked === 2 ? "EINVAL" : undefined),
    });
    expect(refusal(kernel, { pairs: 2 })).toBe(
      "host: no UDP sockets available: invalid argument (EINVAL), EINVAL",
    );
  });

  it("PG-41: without descriptors the error says what to raise", () => {
    const kernel = scripted({ socket: () => "EMFILE" });
    let caught: unknown;
    try {
      openUdpSockets(kernel, OPTIONS);
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code: "host", hint: expect.stringContaining("ulimit -n") });
  });

  it("SN-150, PG-62: an interface that is away has no path, and is no error", () => {
    const kernel = scripted({});
    const away = { ...kernel, sys: { ...kernel.sys, ioctl: () => -1, errno: () => errnoNumber("ENODEV") } };
    const destination = { address: ip("192.0.2.1"), port: 9 };
    expect(readPathMtu(away, { destination, device: "wlan0" })).toBeUndefined();
    expect(kernel.open.size).toBe(0);
  });

  it("PG-43: a refused mark is a missing privilege", () => {
    const kernel = scripted({ setsockopt: (name) => (name === SO_MARK ? "EPERM" : undefined) });
    expect(refusal(kernel)).toBe("privilege: cannot mark a socket: EPERM, EPERM");
    const { mark: _none, ...unmarked } = OPTIONS;
    expect(openUdpSockets(kernel, unmarked).v4).toBeDefined();
  });

  it("PG-44: where the force is refused the plain option is set; PG-60: refused GRO is told", () => {
    const asked: number[] = [];
    const kernel = scripted({
      setsockopt(name, level) {
        if (level === SOL_SOCKET) asked.push(name);
        return [SO_RCVBUFFORCE, SO_SNDBUFFORCE].includes(name)
          ? "EPERM"
          : name === UDP_GRO
            ? "ENOPROTOOPT"
            : undefined;
      },
    });
    expect(openUdpSockets(kernel, OPTIONS).v4?.gro).toBe(false);
    const SO_SNDBUF = 7;
    const SO_RCVBUF = 8;
    expect(asked.filter((name) => name !== SO_MARK && name !== SO_RXQ_OVFL).slice(0, 4)).toEqual([
      SO_SNDBUFFORCE,
      SO_SNDBUF,
      SO_RCVBUFFORCE,
      SO_RCVBUF,
    ]);
  });
});

describe("send errors", () => {
  const datagram = { to: { address: ip("192.0.2.1"), port: 9 }, bytes: new Uint8Array(4) };
  const outcome = (name: ErrnoName): SendOutcome =>
    sendDatagram(scripted({ sendmsg: () => name }), 3, datagram);

  const TABLE: Readonly<Partial<Record<ErrnoName, Partial<Record<"kind" | "reason", string>>>>> = {
    EAGAIN: { kind: "busy" },
    ENOBUFS: { kind: "busy" },
    EMSGSIZE: { kind: "dropped", reason: "too-long" },
    ENETUNREACH: { kind: "dropped", reason: "unreachable" },
    EHOSTUNREACH: { kind: "dropped", reason: "unreachable" },
    EHOSTDOWN: { kind: "dropped", reason: "unreachable" },
    EADDRNOTAVAIL: { kind: "dropped", reason: "unreachable" },
    EINVAL: { kind: "dropped", reason: "unreachable" },
    ECONNREFUSED: { kind: "dropped", reason: "unreachable" },
    EPERM: { kind: "dropped", reason: "blocked" },
    EACCES: { kind: "dropped", reason: "blocked" },
    EBADF: { kind: "broken" },
    ENOTSOCK: { kind: "broken" },
    ENOMEM: { kind: "broken" },
  };
  it.each(Object.keys(TABLE) as ErrnoName[])("PG-46: %s", (name) => {
    expect(outcome(name)).toEqual({ ...TABLE[name], errno: errnoNumber(name) });
  });

  it("PF-41a: with a fixed source the send is tried again without it, once", () => {
    let sends = 0;
    const lost = scripted({
      sendmsg(hasControl) {
        sends++;
        return hasControl ? "ENETUNREACH" : undefined;
      },
    });
    expect(sendDatagram(lost, 3, { ...datagram, source: ip("192.0.2.7") })).toEqual({
      kind: "sent",
      sourceLost: true,
    });
    expect(sends).toBe(2);
    const unreachable = scripted({ sendmsg: () => "ENETUNREACH" });
    expect(sendDatagram(unreachable, 3, { ...datagram, source: ip("192.0.2.7") })).toMatchObject({
      kind: "dropped",
    });
    // Too long is too long from any source.
    const long = scripted({ sendmsg: (hasControl) => (hasControl ? "EMSGSIZE" : undefined) });
    expect(sendDatagram(long, 3, { ...datagram, source: ip("192.0.2.7") })).toMatchObject({
      reason: "too-long",
    });
  });
});

const missing = vi.hoisted(() => ({ isOn: false }));
vi.mock("node:module", async (original) => {
  const real = await original<typeof import("node:module")>();
  const createRequire = (from: string | URL): NodeJS.Require => {
    if (missing.isOn) throw new Error("Cannot find module 'koffi'");
    return real.createRequire(from);
  };
  return { ...real, createRequire };
});
afterEach(() => {
  missing.isOn = false;
});

it("PG-134: without koffi the error says what to do", () => {
  missing.isOn = true;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  let caught: unknown;
  try {
    openSysCalls(memory);
  } catch (error) {
    caught = error;
  }
  expect(caught).toMatchObject({ code: "host", hint: expect.stringContaining("--include=optional") });
});
