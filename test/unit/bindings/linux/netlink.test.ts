/** Netlink on a kernel that is short of something, loses answers, or tells more than one can take (PG-36). */
import { describe, expect, it } from "vitest";
import {
  type ErrnoName,
  errnoName,
  openNetlinkEvents,
  openRtnetlink,
  type Refusal,
  type Rtnetlink,
} from "../../../../bindings/linux/index.ts";
import { openNetlink } from "../../../../bindings/linux/netlink.ts";
import { ip, PosternError } from "../../../../src/base/index.ts";
import { done, message, type Reading, scriptedNetlink, verdict } from "./scripted-netlink.ts";

const RTM_NEWLINK = 16;
const RTM_NEWROUTE = 24;
const RTM_NEWRULE = 32;
const RTM_GETRULE = 34;
const ADDRESS = { index: 1, address: ip("10.0.0.1"), bits: 32 };
const DUMP_INTERRUPTED = 0x10;

const nameOf = (refusal: Refusal | undefined): string =>
  refusal === undefined ? "done" : errnoName(refusal.errno);

/** `struct ifinfomsg` of interface 5, with its name. */
const LINK = Uint8Array.from([
  ...[0, 0, 1, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
  ...[8, 0, 3, 0, 0x70, 0x74, 0x30, 0],
]);

describe("a request", () => {
  const add = (kernel: ReturnType<typeof scriptedNetlink>): string =>
    nameOf(openRtnetlink(kernel).addAddress(ADDRESS));

  it.each(["EINTR", "EAGAIN", "ENOMEM", "EBUSY", "ENOBUFS"] as const)(
    "PG-36: is sent again when the kernel says %s, three times at most",
    (name) => {
      const twice = scriptedNetlink({
        write: (nth) => (nth <= 2 ? name : undefined),
        answer: (sequence) => [verdict(sequence)],
      });
      expect(add(twice)).toBe("done");
      const always = scriptedNetlink({ write: () => name });
      expect(add(always)).toBe(name);
      expect(always.requests).toEqual([]);
    },
  );

  it("PG-36: is not sent again when the kernel refuses it for another reason", () => {
    let writes = 0;
    const kernel = scriptedNetlink({
      write(nth) {
        writes = nth;
        return "EPERM";
      },
    });
    expect(add(kernel)).toBe("EPERM");
    expect(writes).toBe(1);
    const refused = scriptedNetlink({ answer: (sequence) => [verdict(sequence, "EBUSY")] });
    expect(add(refused)).toBe("EBUSY");
    expect(refused.requests).toHaveLength(1);
  });

  it.each([
    ["the kernel has carried out, is done", "EEXIST", "done"],
    ["the kernel has not carried out, is refused as it says then", "EINVAL", "EINVAL"],
  ] as const)("PG-36: whose answer is lost, and which %s", (_, second, outcome) => {
    const kernel = scriptedNetlink({
      answer: (sequence, nth) => (nth === 1 ? ["ENOBUFS"] : [verdict(sequence, second)]),
    });
    expect(add(kernel)).toBe(outcome);
    expect(kernel.requests).toHaveLength(2);
  });

  it("PG-36: EEXIST is a refusal where no answer was lost, also behind a write that failed", () => {
    const kernel = scriptedNetlink({
      write: (nth) => (nth === 1 ? "ENOBUFS" : undefined),
      answer: (sequence) => [verdict(sequence, "EEXIST")],
    });
    expect(add(kernel)).toBe("EEXIST");
  });

  it("PG-36: answers to what was given up are nobody's", () => {
    const kernel = scriptedNetlink({ answer: (sequence) => [verdict(sequence)] });
    const rtnetlink = openRtnetlink(kernel);
    kernel.waiting.push(verdict(77, "EPERM"));
    expect(nameOf(rtnetlink.addAddress(ADDRESS))).toBe("done");
  });
});

it("PG-36: what is left behind a lost answer is thrown away, as the kernel answers nothing before", () => {
  const kernel = scriptedNetlink({ answer: (sequence) => ["ENOBUFS", verdict(sequence), verdict(7)] });
  const netlink = openNetlink(kernel);
  const one = { request: { type: RTM_NEWRULE, header: new Uint8Array(12), attributes: [] }, flags: 0 };
  expect(netlink.requestAll([one])).toMatchObject({ ok: false });
  expect(kernel.waiting).toEqual([]);
  expect(netlink.requestOnce(one.request, 0)).toMatchObject({ ok: false, isLost: true });
  expect(kernel.waiting).toEqual([]);
});

describe("a rule whose number the kernel chooses", () => {
  /** `struct fib_rule_hdr` and FRA_TABLE of the rule below, as it is listed. */
  const LISTED = Uint8Array.from([
    ...[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    ...[8, 0, 15, 0, 0x6c, 0xca, 0, 0],
    ...[5, 0, 21, 0, 80, 0, 0, 0],
  ]);
  const RULE = { family: 4, table: 51820, isInverted: false, protocol: 80 } as const;

  it.each([
    ["is there, is done", [LISTED], "done"],
    ["is not there, is refused", [], "ENOBUFS"],
  ] as const)("PG-36, WG-64: whose answer is lost, and which %s; it is added once", (_, listed, outcome) => {
    const kernel = scriptedNetlink({
      answer: (sequence, nth) =>
        nth === 1
          ? ["ENOBUFS"]
          : [...listed.map((rule) => message(RTM_NEWRULE, sequence, rule, 2)), done(sequence)],
    });
    expect(nameOf(openRtnetlink(kernel).addRule(RULE))).toBe(outcome);
    expect(kernel.requests.map(({ type }) => type)).toEqual([RTM_NEWRULE, RTM_GETRULE]);
  });
});

describe("the way to an address", () => {
  const ask = (name: ErrnoName) =>
    openRtnetlink(scriptedNetlink({ answer: (sequence) => [verdict(sequence, name)] })).bestRoute(
      ip("192.0.2.1"),
    );

  it("PG-62, PG-73: is none where the kernel says so, and not known where it is short of something", () => {
    for (const name of ["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL", "ENODEV"] as const)
      expect(ask(name), name).toBeUndefined();
    for (const name of ["ENOMEM", "ENOBUFS"] as const)
      expect(() => ask(name), name).toThrow("cannot ask for a route");
  });
});

describe("a list", () => {
  const names = (rtnetlink: Rtnetlink): readonly string[] => rtnetlink.links().map(({ name }) => name);

  it.each([
    ["the kernel has another one under way", (sequence: number) => [verdict(sequence, "EBUSY")]],
    [
      "a part of it is lost",
      (sequence: number): Reading[] => [message(RTM_NEWLINK, sequence, LINK, 2), "ENOBUFS", done(sequence)],
    ],
    [
      "it changes meanwhile",
      (sequence: number) => [message(RTM_NEWLINK, sequence, LINK, DUMP_INTERRUPTED), done(sequence)],
    ],
  ] as const)("PG-36: is asked for again when %s", (_, first) => {
    const kernel = scriptedNetlink({
      answer: (sequence, nth) =>
        nth === 1 ? first(sequence) : [message(RTM_NEWLINK, sequence, LINK, 2), done(sequence)],
    });
    expect(names(openRtnetlink(kernel))).toEqual(["pt0"]);
    expect(kernel.requests).toHaveLength(2);
    expect(kernel.waiting).toEqual([]);
  });

  it("PG-36: that the kernel never gives is an error with the kernel's word", () => {
    const kernel = scriptedNetlink({ answer: (sequence) => [verdict(sequence, "ENOMEM")] });
    expect(() => openRtnetlink(kernel).links()).toThrow("cannot list links: out of memory (ENOMEM)");
    expect(kernel.requests).toHaveLength(3);
  });
});

describe("several requests as one datagram", () => {
  const request = { request: { type: RTM_NEWRULE, header: new Uint8Array(4), attributes: [] }, flags: 0 };
  const commit = (
    answer: (last: number) => readonly Reading[],
    write?: (nth: number) => ErrnoName | undefined,
  ) => {
    const kernel = scriptedNetlink({ answer, ...(write && { write }) });
    const netlink = openNetlink(kernel);
    kernel.waiting.push(verdict(900), verdict(901, "EPERM"));
    const outcome = netlink.requestAll([request, request]);
    return outcome.ok ? "done" : errnoName(outcome.errno);
  };

  it("PG-154: what waited from before counts neither as done nor as refused", () => {
    expect(commit((last) => [verdict(last)])).toBe("done");
    expect(commit(() => [])).toBe("ETIMEDOUT");
    expect(commit((last) => [verdict(last - 1, "ENOENT"), verdict(last)])).toBe("ENOENT");
  });

  it("PG-154: an answer that is lost is told by its own error", () => {
    expect(commit(() => ["ENOBUFS"])).toBe("ENOBUFS");
  });

  it("PG-154: what was not sent is sent again", () => {
    const short = (nth: number) => (nth < 3 ? "ENOBUFS" : undefined);
    expect(commit((last) => [verdict(last)], short)).toBe("done");
  });
});

describe("events", () => {
  const event = () => message(RTM_NEWROUTE, 0);
  const OVERRUN = { kind: "overrun" };

  it("PG-36: an overrun says all there is to say, and the socket is empty behind it", () => {
    const kernel = scriptedNetlink({});
    const events = openNetlinkEvents(kernel);
    kernel.waiting.push(event(), "ENOBUFS", event(), event());
    expect(events.drain()).toEqual([OVERRUN]);
    expect(kernel.waiting).toEqual([]);
    expect(events.drain()).toEqual([]);
  });

  it("PG-36: so is more than one turn takes", () => {
    const kernel = scriptedNetlink({});
    const events = openNetlinkEvents(kernel);
    kernel.waiting.push(...Array.from({ length: 255 }, event));
    expect(events.drain()).toHaveLength(255);
    kernel.waiting.push(...Array.from({ length: 3000 }, event));
    expect(events.drain()).toEqual([OVERRUN]);
    expect(kernel.waiting).toEqual([]);
  });

  it("PG-36: a socket that fails for good is no endless loop", () => {
    const kernel = scriptedNetlink({});
    const events = openNetlinkEvents(kernel);
    kernel.waiting.push("EBADF", "EBADF", "EBADF");
    // Both sockets.
    expect(events.drain()).toEqual([OVERRUN, OVERRUN]);
  });

  it("PG-152: without nftables there are no events of it; without room for a socket there are none at all", () => {
    const second = (name: ErrnoName) => scriptedNetlink({ socket: (nth) => (nth === 2 ? name : undefined) });
    const lacking = second("EPROTONOSUPPORT");
    openNetlinkEvents(lacking).close();
    expect(lacking.open.size).toBe(0);
    const short = second("EMFILE");
    expect(() => openNetlinkEvents(short)).toThrow(PosternError);
    expect(() => openNetlinkEvents(second("EMFILE"))).toThrow(
      "cannot open a netlink socket: too many open files",
    );
    expect(short.open.size).toBe(0);
  });
});
