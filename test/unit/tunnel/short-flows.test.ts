/**
 * Flows that are over in milliseconds: what of them control settles, what their record sees, and what an earlier record
 * has seen depends on when control runs. However that falls, each is told once, with all its packets (TN-91).
 */
import { describe, expect, it } from "vitest";
import { type Instant, instant, ip, prefix } from "../../../src/base/index.ts";
import type { Filter, GatewayMessage } from "../../../src/portal/protocol/index.ts";
import { createTunnelGateway, type FlowReport, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import { createDrivenPlane, frameOf, PLANE_KINDS, type PlaneKind } from "../../twin/driven-plane.ts";
import { sealMessage } from "../../twin/plane/message.ts";
import { counting, tcp, udp } from "../plane/packets.ts";
import { A, B, directPath, sessionKeys } from "../plane/pair.ts";
import { CID, CREDENTIALS, createLoneTunnel, RID, START, UNIX_START } from "./lone-tunnel.ts";

const CLIENT = ip("100.64.0.2");
const SERVER = ip("10.7.0.9");
const PORT = 443;
const [FIN, SYN, RST, ACK] = [0x01, 0x02, 0x04, 0x10];

/** FIN waits for what may still come (TN-68), then for the next sweep. */
const SOON_S = 7;

/** A packet of a flow: its direction, TCP's flags (absent: UDP), payload bytes. */
interface Step {
  readonly direction: "out" | "in";
  readonly flags?: number;
  readonly bytes: number;
}

const step = (direction: "out" | "in", flags: number, bytes = 0): Step => ({ direction, flags, bytes });
const OPENING = [step("out", SYN), step("in", SYN | ACK), step("out", ACK), step("out", ACK, 10)] as const;
const CLOSED = [
  ...[...OPENING, step("in", ACK, 20), step("out", FIN | ACK)],
  ...[step("in", FIN | ACK), step("out", ACK)],
] as const;

/** What a gateway does while the packets of a flow come, one after the other. */
interface Schedule {
  readonly port: number;
  /** A bit per packet: control runs behind it, and settles what was punted. */
  readonly control: number;
  /** Records stay held (TN-87): the plane counts, and control settles all. */
  readonly isHeld: boolean;
  /** Before control runs behind that packet, the client's access changes: records hold no more. */
  readonly changesBehind?: number | undefined;
}

function createRig(kind: PlaneKind) {
  const plane = createDrivenPlane(kind, { mode: "gateway" });
  const options = { flows: plane.flows, now: START, unixNow: UNIX_START, isHostOpen: false };
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) => createTunnelGateway({ ...options, connections, areFlowsLogged: true }),
  );
  const apply = (input: (gateway: typeof lone.machine) => void): void => {
    lone.apply(input);
    for (const command of lone.commands.splice(0)) {
      if (command.kind === "publish") plane.publish(command.tables);
      else if (command.kind !== "write-tun") plane.execute(command);
      if (command.kind === "add-peer") connect(command.slot, command.peerId);
    }
  };
  let session = sessionKeys("a");
  const connect = (slot: number, peerId: number): void => {
    session = sessionKeys("a", 1, { local: (peerId * 256 + 1) >>> 0 });
    plane.execute({ kind: "set-path", slot, path: directPath(B) });
    plane.execute({ kind: "install", slot, peerId, session });
    plane.execute({ kind: "set-current", slot, local: session.local });
  };
  const tell = (message: GatewayMessage): void =>
    apply((gateway) => gateway.handlePortalMessage(START, message));
  let isFiltered = false;
  /** Each time with other filters, which permit the same. */
  const grant = (): void => {
    isFiltered = !isFiltered;
    tell(access(isFiltered));
  };
  const own = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
  tell({ kind: "init", interface: own, relays: [], authorizations: [] });
  grant();
  let counter = 0n;
  const carry = (packet: Uint8Array, direction: "out" | "in", now: Instant): void => {
    if (direction === "in") return void plane.egress(now, frameOf(packet));
    const bytes = sealMessage(session.receiveKey, session.local, counter++, packet);
    plane.ingress(now, { from: B, local: A.address, bytes });
  };
  const control = (now: Instant): void => {
    for (const punt of plane.takePunts()) apply((gateway) => gateway.handlePunt(now, punt));
  };
  const run = (steps: readonly Step[], schedule: Schedule, now = START): void => {
    for (const [i, each] of steps.entries()) {
      carry(packetOf(each, schedule.port), each.direction, now);
      if (i === schedule.changesBehind) grant();
      if ((schedule.control & (1 << i)) === 0) continue;
      control(now);
      if (!schedule.isHeld) plane.releaseFlows();
    }
    control(now);
    plane.releaseFlows();
  };
  let waitedS = 0;
  const wait = (untilS: number): void => {
    while (waitedS < untilS) apply((gateway) => gateway.handleTimeout(instant(START + ++waitedS * 1000)));
  };
  const told = (): FlowReport[] =>
    lone.events.splice(0).flatMap((event) => (event.kind === "flow-ended" ? [event.flow] : []));
  return { apply, run, wait, told };
}

function access(isFiltered: boolean): GatewayMessage {
  const anything = (["tcp", "udp"] as const).map((protocol): Filter => {
    return { protocol, firstPort: 0, lastPort: 65_535 };
  });
  const network = { kind: "cidr", rid: RID, name: "Office", address: prefix("10.7.0.0/16") } as const;
  return {
    ...{ kind: "authorize-flow", ref: RID, subject: {} },
    resource: { ...network, filters: isFiltered ? anything : [] },
    client: {
      ...{ cid: CID, ipv4: CLIENT, ipv6: ip("fd00:2021:1111::2"), device: {} },
      ...{ publicKey: new Uint8Array(32).fill(9), presharedKey: new Uint8Array(32) },
    },
    ...{ clientCredentials: CREDENTIALS.client, gatewayCredentials: CREDENTIALS.gateway },
  };
}

function packetOf({ direction, flags, bytes }: Step, port: number): Uint8Array {
  const ends =
    direction === "out"
      ? ({ source: CLIENT, destination: SERVER, ports: [port, PORT] } as const)
      : ({ source: SERVER, destination: CLIENT, ports: [PORT, port] } as const);
  const payload = counting(bytes);
  if (flags === undefined) return udp(payload, { family: 4, ...ends });
  return tcp(payload, { family: 4, ...ends, flags });
}

function talliesOf(steps: readonly Step[]) {
  const of = (direction: Step["direction"]) => {
    const some = steps.filter((each) => each.direction === direction);
    return { packets: some.length, bytes: some.reduce((sum, { bytes }) => sum + bytes, 0) };
  };
  return { tx: of("out"), rx: of("in") };
}

/** Control behind each packet or not, in all ways; always behind the first, for else nobody would answer it. */
function schedulesOf(steps: readonly Step[], changesBehind: number | undefined): readonly Schedule[] {
  return Array.from({ length: 2 ** (steps.length - 1) }, (_, way) => {
    return { port: 1000 + way, control: way | 1, isHeld: (way & 1) !== 0, changesBehind };
  });
}

const CHANGES = [undefined, 0, 1, 2, 3, 4, 5, 6, 7] as const;

describe.each(PLANE_KINDS)("short flows over the %s", (kind) => {
  const ENDINGS: readonly (readonly [string, readonly Step[]])[] = [
    ["FIN both ways, the client's first", CLOSED],
    ["FIN both ways, the server's first", [...OPENING, ...reversed(CLOSED.slice(4))]],
    ["a refusal by RST", [step("out", SYN), step("in", RST | ACK)]],
    [
      "RST, with data that were under way",
      [...OPENING, step("in", RST), step("out", ACK, 30), step("out", ACK, 40)],
    ],
  ];

  /** Runs all schedules; what is told of each port, in its order. */
  function tell(rig: ReturnType<typeof createRig>, untilS: number) {
    rig.wait(untilS);
    const lines = rig.told().map(({ client, tx, rx }) => ({ port: client.port, tx, rx }));
    return lines.sort((a, b) => a.port - b.port);
  }

  it.each(ENDINGS)("TN-90, TN-91: each is told once, soon, with all its packets: %s", (_, steps) => {
    for (const changesBehind of CHANGES.slice(0, steps.length + 1)) {
      const rig = createRig(kind);
      const schedules = schedulesOf(steps, changesBehind);
      for (const schedule of schedules) rig.run(steps, schedule);
      const expected = schedules.map(({ port }) => ({ port, ...talliesOf(steps) }));
      expect(tell(rig, SOON_S), `access changes behind ${changesBehind}`).toEqual(expected);
      rig.apply((gateway) => gateway.shutdown(instant(START + 10_000)));
      expect(rig.told()).toEqual([]);
    }
  });

  it("TN-78, TN-91: another connection on the same ports is another flow", () => {
    for (const changesBehind of [undefined, 5, 6, 7]) {
      const rig = createRig(kind);
      const schedules = schedulesOf(CLOSED, changesBehind);
      for (const schedule of schedules) {
        rig.run(CLOSED, schedule);
        rig.run(CLOSED, { ...schedule, changesBehind: undefined });
      }
      const line = ({ port }: Schedule) => ({ port, ...talliesOf(CLOSED) });
      const expected = schedules.flatMap((schedule) => [line(schedule), line(schedule)]);
      expect(tell(rig, SOON_S), `access changes behind ${changesBehind}`).toEqual(expected);
    }
  });

  it("TN-91: of datagrams each is counted once, whoever settles it", () => {
    const steps = (["out", "out", "in", "out", "in"] as const).map((direction, i) => ({
      direction,
      bytes: i + 1,
    }));
    for (const changesBehind of CHANGES.slice(0, steps.length + 1)) {
      const rig = createRig(kind);
      const schedules = schedulesOf(steps, changesBehind);
      for (const schedule of schedules) rig.run(steps, schedule);
      rig.apply((gateway) => gateway.shutdown(instant(START + 1000)));
      const expected = schedules.map(({ port }) => ({ port, ...talliesOf(steps) }));
      expect(tell(rig, 0), `access changes behind ${changesBehind}`).toEqual(expected);
    }
  });

  it("TN-91: SYNs that nobody answers are a flow that ends when it was idle, where its client is gone", () => {
    const rig = createRig(kind);
    const steps = [step("out", SYN), step("out", SYN), step("out", SYN)];
    const schedules = schedulesOf(steps, undefined);
    for (const schedule of schedules) rig.run(steps, schedule);
    // No path is found meanwhile, and the records go with the connection.
    expect(tell(rig, 119)).toEqual([]);
    expect(tell(rig, 120)).toEqual(schedules.map(({ port }) => ({ port, ...talliesOf(steps) })));
  });
});

function reversed(steps: readonly Step[]): readonly Step[] {
  return steps.map((each) => ({ ...each, direction: each.direction === "out" ? "in" : "out" }));
}
