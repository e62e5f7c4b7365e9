import { describe, expect, it } from "vitest";
import { PosternError } from "../../../src/base/index.ts";
import { describeError, exitCodeOf } from "../../../src/program/exit.ts";

describe("exit codes", () => {
  it.each([
    ["usage", 2],
    ["config-syntax", 2],
    ["config-unreadable", 3],
    ["file-unreadable", 3],
    ["token-missing", 3],
    ["auth", 4],
    ["privilege", 5],
    ["portal_unreachable", 6],
    ["portal_tls", 7],
    ["host", 8],
    ["tun-busy", 8],
    ["in-use", 9],
    ["no-instance", 10],
    ["worker-died", 70],
    ["demo-ping", 1],
    ["constructor", 1],
  ])("PG-14: a failure of code %s ends with %i", (code, status) => {
    expect(exitCodeOf(new PosternError(code, "x"))).toBe(status);
  });

  it("PG-18: what is no PosternError is our defect", () => {
    expect(exitCodeOf(new TypeError("x"))).toBe(70);
    expect(exitCodeOf("text")).toBe(70);
  });
});

describe("the line of a failure", () => {
  it("PG-105: outer, inner, root, then the remedy", () => {
    const root = new Error("EPERM (1): operation not permitted");
    const inner = new Error("cannot open /dev/net/tun", { cause: root });
    const outer = new PosternError("host", "cannot make the interface", "run as root", { cause: inner });
    expect(describeError(outer)).toBe(
      "cannot make the interface: cannot open /dev/net/tun: EPERM (1): operation not permitted; run as root",
    );
  });

  it("PG-105: does not repeat what an outer message has said", () => {
    const cause = new Error("permission denied");
    expect(
      describeError(new PosternError("host", "cannot open x: permission denied", undefined, { cause })),
    ).toBe("cannot open x: permission denied");
  });

  it("PG-105: leaves out a cause that only adds the name of the call", () => {
    const cause = new Error("bind: address in use (EADDRINUSE)");
    const error = new PosternError(
      "host",
      "cannot bind UDP port 7: address in use (EADDRINUSE)",
      "choose another",
      {
        cause,
      },
    );
    expect(describeError(error)).toBe("cannot bind UDP port 7: address in use (EADDRINUSE); choose another");
  });

  it("PG-14: is one line, and ends even when causes form a circle", () => {
    const circle = new Error("one\ntwo");
    circle.cause = circle;
    expect(describeError(circle)).toBe("one two");
  });
});
