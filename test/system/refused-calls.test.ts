/**
 * Every system call by which control sets something up is refused once (TS-64): what was opened before is closed,
 * the host is as before, and a person reads what could not be done. Or it goes on without, as its rules have it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bindTcp,
  connectUdp,
  type ErrnoName,
  errnoNumber,
  errnoOf,
  type Kernel,
  openKernel,
  openNetlinkEvents,
  openRelaySocket,
  openRtnetlink,
  openTun,
  openUdpSockets,
  type Rtnetlink,
  readPathMtu,
  startTcp,
  type UdpOptions,
} from "../../bindings/linux/index.ts";
import { ip, PosternError, prefix, SILENT } from "../../src/base/index.ts";
import {
  addPolicyRules,
  applyTunnelRoutes,
  applyWgRoutes,
  configureLink,
  createGuard,
  findFreeTable,
  flushPolicyRouting,
  planWgRoutes,
} from "../../src/host/index.ts";
import { type RefusingKernel, refusing } from "../lib/refusing-kernel.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, type OwnNamespace } from "./own-namespace.ts";

/** What a call says where something is short, and where somebody forbids it. */
const ERRORS = ["ENOBUFS", "EMFILE", "EPERM", "EINVAL"] as const satisfies readonly ErrnoName[];
const CODES = ["host", "privilege", "address-in-use"];
const NETWORKS = ["172.20.0.0/16", "0.0.0.0/0", "fd20::/64"].map(prefix);
const TABLE_LOCAL = 255;
const FAR = { address: ip("127.0.0.1"), port: 9 };

const UDP: UdpOptions = {
  port: { kind: "any" },
  mark: 7,
  device: "lo",
  gro: true,
  sendBufferBytes: 1 << 16,
  receiveBufferBytes: 1 << 16,
};

/** Each opens something, and returns how to close it. */
const OPENERS: Readonly<Record<string, (kernel: Kernel) => () => void>> = {
  "PG-28: the TUN device": (kernel) => openTun(kernel, { name: "pt0" }).close,
  "PG-28: the TUN device with two queues": (kernel) => openTun(kernel, { name: "pt0", queues: 2 }).close,
  "PG-41: the UDP sockets": (kernel) => openUdpSockets(kernel, UDP).close,
  "WG-57: those of a port that is written down": (kernel) =>
    openUdpSockets(kernel, { ...UDP, port: { kind: "fixed", port: 51820 } }).close,
  "PG-176: those of two pairs": (kernel) => openUdpSockets(kernel, { ...UDP, pairs: 2 }).close,
  "PG-36: netlink": (kernel) => openRtnetlink(kernel).close,
  "PG-152: the kernel's events": (kernel) => openNetlinkEvents(kernel).close,
  "PG-43: a connection": (kernel) => startTcp(kernel, FAR, { mark: 7, device: "lo" }).close,
  "RL-200: a listening socket": (kernel) => {
    const fd = bindTcp(kernel, { ...FAR, port: 0 });
    return () => void kernel.sys.close(fd);
  },
  "PG-63: the socket of a question": (kernel) => connectUdp(kernel, FAR, { mark: 7, device: "lo" }).close,
  "SN-150: the path's MTU": (kernel) => {
    readPathMtu(kernel, { destination: FAR, mark: 7, device: "lo" });
    return () => {};
  },
  "RL-50: a socket of the relay": (kernel) => {
    const sizes = { sendBufferBytes: 1 << 16, receiveBufferBytes: 1 << 16 };
    const socket = openRelaySocket(kernel, {
      ...{ address: FAR.address, port: 0, hasPacketInfo: true },
      ...sizes,
    });
    return () => void (typeof socket !== "number" && kernel.sys.close(socket.fd));
  },
  "PG-154: the guard": (kernel) => {
    const guard = createGuard(kernel, "pt0");
    try {
      guard.want(NETWORKS.filter(({ bits }) => bits > 0));
    } catch (error) {
      guard.close();
      throw error;
    }
    return guard.close;
  },
};

describeWith(["netns", "tun", "nft", "ipv6", "users"], "calls that the kernel refuses", () => {
  const clean = openKernel();
  let host: OwnNamespace;
  let rtnetlink: Rtnetlink;
  let kernel: RefusingKernel;
  beforeAll(() => {
    host = createNamespace();
    host.run("ip", "link", "set", "lo", "up");
    rtnetlink = host.enter(() => openRtnetlink(clean));
    kernel = refusing(clean);
  });
  afterAll(() => {
    rtnetlink.close();
    host.close();
  });

  const stateOfHost = (): unknown => ({
    links: rtnetlink.links().map(({ name }) => name),
    rules: [4, 6].map((family) => rtnetlink.rules(family as 4 | 6)),
    // An address of the device brings its own into the table of local ones.
    routes: rtnetlink
      .routes(4)
      .filter(({ table }) => table !== TABLE_LOCAL)
      .map(({ destination, table }) => ({ destination, table })),
  });

  /** Says what became of it: it was opened, or whatever it threw. */
  function attempt(open: (kernel: Kernel) => () => void): "opened" | PosternError {
    try {
      host.enter(() => open(kernel))();
      return "opened";
    } catch (error) {
      if (error instanceof PosternError) return error;
      throw error;
    }
  }

  function countCalls(open: (kernel: Kernel) => () => void): number {
    kernel.refuse(0, 0);
    expect(attempt(open)).toBe("opened");
    return kernel.calls();
  }

  /** Each call of an opener is refused in turn, with each error; `judge` is told how that ended. */
  function sweep(
    open: (kernel: Kernel) => () => void,
    judge: (outcome: "opened" | PosternError, error: ErrnoName, where: string) => void,
    errors: readonly ErrnoName[] = ERRORS,
  ): void {
    const count = countCalls(open);
    expect(count).toBeGreaterThan(0);
    for (const error of errors) {
      for (let nth = 1; nth <= count; nth++) {
        kernel.refuse(nth, errnoNumber(error));
        const outcome = attempt(open);
        const where = `${error} of call ${nth}, ${kernel.refused()}: ${outcome}`;
        expect([...kernel.open], `left open by ${where}`).toEqual([]);
        expect(kernel.closedAgain, `closed twice by ${where}`).toEqual([]);
        judge(outcome, error, where);
      }
    }
  }

  it.each(Object.entries(OPENERS))("TS-64, %s: nothing stays open, and the error says why", (_, open) => {
    const before = stateOfHost();
    sweep(open, (outcome, error, where) => {
      if (outcome === "opened") return;
      expect(CODES, where).toContain(outcome.code);
      expect(outcome.message, where).not.toMatch(/undefined|\berrno \d/);
      // Whoever looks for the cause finds the kernel's own word.
      const cause = `${outcome.message} ${outcome.cause}`;
      expect(errnoOf(outcome) === errnoNumber(error) || cause.includes(error), where).toBe(true);
    });
    expect(stateOfHost()).toEqual(before);
  });

  describe("with a device", () => {
    let index = 0;
    let close = (): void => {};
    beforeAll(() => {
      const tun = host.enter(() => openTun(clean, { name: "pt1" }));
      [index, close] = [tun.index, tun.close];
    });
    afterAll(() => close());

    it("TS-64, PG-30 to PG-35: addresses, rules and routes are set or refused; a clean end takes all of them", () => {
      const before = stateOfHost();
      const addresses = ["100.64.0.1", "fd00:2021:1111::1"].map((text) => {
        const address = ip(text);
        return { address, bits: address.length * 8 };
      });
      const link = { index, name: "pt1", mtu: 1280, txQueueLength: 100, addresses };
      sweep(
        (some) => {
          const own = openRtnetlink(some);
          try {
            const families = configureLink(own, link, SILENT);
            addPolicyRules(own, families === "v6-only" ? [6] : [4, 6], SILENT);
            applyTunnelRoutes(own, index, NETWORKS, SILENT);
            flushPolicyRouting(own, SILENT);
          } catch (error) {
            own.close();
            // As the next start does.
            flushPolicyRouting(rtnetlink, SILENT);
            throw error;
          }
          return own.close;
        },
        (outcome, error, where) => {
          // What passes is waited for: netlink asks again.
          if (error === "ENOBUFS" && !/^\w+ of call [12],/.test(where)) expect(outcome, where).toBe("opened");
          // What is refused on the way back, and does not pass, the next start removes.
          if (outcome === "opened" && error === "ENOBUFS") expect(stateOfHost(), where).toEqual(before);
          flushPolicyRouting(rtnetlink, SILENT);
        },
        // Each of some hundred set-ups takes the kernel milliseconds.
        ["ENOBUFS", "EPERM"],
      );
      rtnetlink.changeLink(index, { isUp: false });
    });

    it("TS-64, WG-64: of wg's routes and rules nothing stays where one is refused", () => {
      const settings = {
        ...({ index, table: "auto", addresses: [] } as const),
        allowedIps: ["0.0.0.0/0", "::/0", "172.21.0.0/16"].map(prefix),
      };
      rtnetlink.changeLink(index, { isUp: true });
      const before = stateOfHost();
      let refused: string | undefined;
      /** Sets all of it, and takes it back by a kernel that refuses nothing. Returns how many calls the first took. */
      const setUp = (): number => {
        const own = openRtnetlink(kernel);
        try {
          const routes = applyWgRoutes(own, planWgRoutes(settings, findFreeTable(own)), SILENT);
          const calls = kernel.calls();
          refused = kernel.refused();
          kernel.refuse(0, 0);
          routes.remove();
          return calls;
        } finally {
          own.close();
        }
      };
      const refusedAt = (nth: number, error: ErrnoName): string | undefined => {
        kernel.refuse(nth, errnoNumber(error));
        try {
          host.enter(setUp);
        } catch (cause) {
          if (!(cause instanceof PosternError)) throw cause;
          refused = kernel.refused();
        }
        const where = `${error} of call ${nth}, ${refused}`;
        expect([...kernel.open], where).toEqual([]);
        expect(stateOfHost(), where).toEqual(before);
        return refused;
      };
      kernel.refuse(0, 0);
      const count = host.enter(setUp);
      expect(count).toBeGreaterThan(20);
      for (let nth = 1; nth <= count; nth++) {
        const call = refusedAt(nth, "ENOBUFS");
        // Of what is read the kernel says nothing else, and what it was asked for is done by then.
        if (call !== "read" && call !== "poll") refusedAt(nth, "EPERM");
      }
    });
  });
});
