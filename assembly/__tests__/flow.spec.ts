import {
  FLOW_HAS_SLOT,
  FLOW_LINKED,
  Flow,
  FlowSide,
  FlowTable,
  PACKET_FLAG_PORTS,
  Packet,
  PLANE_ADDRESS,
  Plane,
  VERDICT_PASS,
} from "../layout";
import { findFlow, flowLink, flowSweep, flowUnlink, isValidFlow } from "../table/flow";
import { emptyPlane, FREE } from "./world";

const TABLE: usize = FREE;
const GENERATIONS: usize = FREE + 0x100;
const OUT_CHAINS: usize = FREE + 0x200;
const IN_CHAINS: usize = FREE + 0x300;
const ROWS: usize = FREE + 0x400;
const PACKET: usize = FREE + 0x2000;
const FOUND: usize = FREE + 0x2100;
const LIST: usize = FREE + 0x2200;
const UDP: u32 = 17;
const CLIENT: u32 = 0x0200_4064;
const REMOTE: u32 = 0x0100_6064;

/** A record of slot 3 in both directions, in row `row`. */
function linked(row: usize, clientPort: u16): usize {
  const at = ROWS + row * Flow.BYTES;
  memory.fill(at, 0, Flow.BYTES);
  store<u8>(at, <u8>UDP, Flow.PROTOCOL);
  store<u8>(at, <u8>(FLOW_LINKED | FLOW_HAS_SLOT), Flow.FLAGS);
  store<u8>(at, <u8>(VERDICT_PASS | (VERDICT_PASS << 4)), Flow.VERDICTS);
  store<u16>(at, 3, Flow.SLOT);
  store<u16>(at, clientPort, Flow.CLIENT_PORT);
  store<u16>(at, 443, Flow.REMOTE_PORT);
  store<u16>(at, clientPort, Flow.OUTSIDE_PORT);
  store<u32>(at, CLIENT, Flow.CLIENT);
  store<u32>(at, REMOTE, Flow.REMOTE);
  store<u32>(at, REMOTE, Flow.OUTSIDE);
  flowLink(at);
  return at;
}

/** A packet from the client's port, or one back to it. */
function found(clientPort: u32, isIn: bool): usize {
  store<u8>(PACKET, 0x45);
  store<u32>(PACKET, isIn ? REMOTE : CLIENT, 12);
  store<u32>(PACKET, isIn ? CLIENT : REMOTE, 16);
  store<u32>(FOUND, 4, Packet.FAMILY);
  store<u32>(FOUND, UDP, Packet.PROTOCOL);
  store<u32>(FOUND, PACKET_FLAG_PORTS, Packet.FLAGS);
  store<u32>(FOUND, isIn ? 443 : clientPort, Packet.SOURCE_PORT);
  store<u32>(FOUND, isIn ? clientPort : 443, Packet.DESTINATION_PORT);
  return findFlow(PACKET, FOUND, isIn, 0);
}

describe("the table of flows", () => {
  beforeEach(() => {
    emptyPlane();
    store<usize>(PLANE_ADDRESS, TABLE, Plane.FLOWS);
    store<usize>(TABLE, OUT_CHAINS, FlowTable.OUT_CHAINS);
    store<usize>(TABLE, IN_CHAINS, FlowTable.IN_CHAINS);
    store<usize>(TABLE, GENERATIONS, FlowTable.GENERATIONS);
    // One chain: every record is in the way of every other.
    store<u32>(TABLE, 0, FlowTable.CHAIN_MASK);
  });

  test("TN-75: a record is found in both directions behind others, and no other one", () => {
    const first = linked(0, 1000);
    const second = linked(1, 1001);
    for (let isIn = 0; isIn < 2; isIn++) {
      expect(found(1000, isIn != 0)).toBe(first);
      expect(found(1001, isIn != 0)).toBe(second);
      expect(found(1002, isIn != 0)).toBe(0);
    }
  });

  test("TN-81: the newest of a flow counts; a worker that stands on one taken out finds its way on", () => {
    const old = linked(0, 1000);
    const middle = linked(1, 1001);
    const newest = linked(2, 1000);
    expect(found(1000, false)).toBe(newest);
    flowUnlink(middle);
    expect(found(1001, false)).toBe(0);
    expect(load<u32>(middle + Flow.OUT, FlowSide.NEXT)).toBe(<u32>old);
    flowUnlink(newest);
    expect(found(1000, true)).toBe(old);
    flowUnlink(old);
    expect(found(1000, true)).toBe(0);
  });

  test("TN-82: each of the two generations ends a record, of its own slot only", () => {
    const row = linked(0, 1000);
    expect(isValidFlow(row)).toBe(true);
    store<u32>(GENERATIONS, 7, 4 * 2);
    expect(isValidFlow(row)).toBe(true);
    store<u32>(GENERATIONS, 1, 4 * 3);
    expect(isValidFlow(row)).toBe(false);
    const next = linked(1, 1000);
    expect(isValidFlow(next)).toBe(true);
    store<u32>(TABLE, 1, FlowTable.GENERATION);
    expect(isValidFlow(next)).toBe(false);
  });

  test("TN-90: lists what is over its time, no more than there is room for, and goes on from there", () => {
    for (let row: usize = 0; row < 4; row++) linked(row, <u16>(1000 + row));
    const end = ROWS + 4 * Flow.BYTES;
    expect(flowSweep(119, ROWS, end, LIST, 3)).toBe(0);
    expect(flowSweep(120, ROWS, end, LIST, 3)).toBe(3);
    expect(load<u32>(LIST, 16)).toBe(<u32>(ROWS + 2 * Flow.BYTES));
    expect(flowSweep(120, ROWS + 3 * Flow.BYTES, end, LIST, 3)).toBe(1);
  });
});
