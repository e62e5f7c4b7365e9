import { describe, expect, it } from "vitest";
import { errnoNumber } from "../../../bindings/linux/index.ts";
import { type Log, SILENT } from "../../../src/base/index.ts";
import { createSocketErrors } from "../../../src/program/shell/index.ts";

function rig() {
  const lines: unknown[][] = [];
  const at =
    (level: string) =>
    (event: string, fields = {}) =>
      void lines.push([level, event, fields]);
  const log: Log = { ...SILENT, warn: at("warn"), info: at("info"), debug: at("debug") };
  const sendErrnos: Record<number, number> = {};
  const receiveErrnos: Record<number, number> = {};
  const counters = { checksum_mismatch: 0 };
  const errors = createSocketErrors({
    read: () => ({ egress: { sendErrnos }, ingress: { receiveErrnos, counters } }),
    port: () => 52625,
    log,
  });
  return { errors, lines, sendErrnos, receiveErrnos, counters };
}

describe("errors of the transport's sockets", () => {
  it("PG-47: a receive that failed is a WARN with its error, told when there are more of it", () => {
    const { errors, lines, receiveErrnos } = rig();
    errors.look();
    expect(lines).toEqual([]);
    receiveErrnos[errnoNumber("ENOBUFS")] = 3;
    errors.look();
    errors.look();
    receiveErrnos[errnoNumber("ENOBUFS")] = 4;
    errors.look();
    expect(lines).toEqual([
      ["warn", "cannot receive on the transport socket", { errno: "ENOBUFS", times: 3 }],
      ["warn", "cannot receive on the transport socket", { errno: "ENOBUFS", times: 1 }],
    ]);
  });

  it("PG-47: unreachable kinds are DEBUG", () => {
    const { errors, lines, receiveErrnos } = rig();
    receiveErrnos[errnoNumber("ECONNREFUSED")] = 1;
    errors.look();
    expect(lines.map(([level]) => level)).toEqual(["debug"]);
  });

  it("PG-6: packets with a wrong checksum are a WARN, when there are more of them", () => {
    const { errors, lines, counters } = rig();
    counters.checksum_mismatch = 2;
    errors.look();
    errors.look();
    counters.checksum_mismatch = 5;
    errors.look();
    const event = "packets out of the tunnel have a wrong checksum";
    expect(lines).toEqual([
      ["warn", event, { packets: 2 }],
      ["warn", event, { packets: 3 }],
    ]);
  });

  it("PG-46: a local firewall is said once for each process, with our port, whoever ran into it", () => {
    const { errors, lines, sendErrnos } = rig();
    errors.blocked();
    sendErrnos[errnoNumber("EPERM")] = 7;
    errors.look();
    const [first] = lines;
    expect(lines).toHaveLength(1);
    expect(first?.[0]).toBe("info");
    expect(first?.[1]).toMatch(
      /^outbound UDP is blocked by a local firewall; allow STUN, TURN and WireGuard/,
    );
    expect(first?.[2]).toEqual({ fromPort: 52625 });
  });
});
