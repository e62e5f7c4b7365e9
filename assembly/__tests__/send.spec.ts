import { completeSend, sealInto, sendDone } from "../batch/send";
import { BUFFER_LEAD, Egress, Path, PLANE_ADDRESS, Plane, Session, Transit } from "../layout";
import { emptyPlane, FREE, installSession, OUTPUT, pathWith, sendBuffer, WORKER } from "./world";

const PACKET: usize = FREE + 64;
const PACKET_BYTES: u32 = 100;
/** Header and tag of a transport message. */
const OVERHEAD: u32 = 32;
const DATAGRAM: usize = OUTPUT + BUFFER_LEAD;
const TRANSIT: usize = WORKER + Egress.FRAME;
const KEPT: usize = FREE + 2048;

/** A frame under way on a path with that head room; its counter is 77. */
function underWay(headRoom: u32): void {
  emptyPlane();
  sendBuffer();
  store<u32>(PLANE_ADDRESS, 1420, Plane.MTU);
  const session = installSession(0, 0, 1);
  store<u32>(session, 0x04030201, Session.REMOTE);
  store<usize>(TRANSIT, session, Transit.SESSION);
  store<usize>(TRANSIT, pathWith(headRoom, 0x4abc), Transit.PATH);
  store<u64>(TRANSIT, 77, Transit.COUNTER);
  store<u32>(TRANSIT, 8, Transit.RESERVED);
  memory.fill(PACKET, 0x5a, <usize>PACKET_BYTES);
}

describe("a datagram in the send buffer", () => {
  test("D-7: head room 0: the message is the datagram", () => {
    underWay(0);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(true);
    expect(load<u32>(DATAGRAM)).toBe(4);
    expect(load<u32>(DATAGRAM, 4)).toBe(0x04030201);
    expect(load<u64>(DATAGRAM, 8)).toBe(77);
    expect(load<u32>(WORKER, Egress.SEND_BYTES)).toBe(PACKET_BYTES + OVERHEAD);
    expect(load<u8>(DATAGRAM, 16)).not.toBe(0x5a);
  });

  test("D-7: head room 4: a channel-data header with the message's length stands in front", () => {
    underWay(4);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(true);
    expect(<u32>bswap<u16>(load<u16>(DATAGRAM))).toBe(0x4abc);
    expect(<u32>bswap<u16>(load<u16>(DATAGRAM, 2))).toBe(PACKET_BYTES + OVERHEAD);
    expect(load<u32>(DATAGRAM, 4)).toBe(4);
    expect(load<u64>(DATAGRAM, 12)).toBe(77);
    expect(load<u32>(WORKER, Egress.SEND_BYTES)).toBe(PACKET_BYTES + OVERHEAD + 4);
  });

  test("D-7: with either head room the message is the same", () => {
    underWay(4);
    sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES);
    completeSend(WORKER);
    memory.copy(KEPT, DATAGRAM + 4, <usize>(PACKET_BYTES + OVERHEAD));
    sendDone(WORKER);
    store<u64>(TRANSIT, 77, Transit.COUNTER);
    store<u32>(load<usize>(TRANSIT, Transit.PATH), 0, Path.HEAD_ROOM);
    sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES);
    completeSend(WORKER);
    expect(memory.compare(DATAGRAM, KEPT, <usize>(PACKET_BYTES + OVERHEAD))).toBe(0);
  });

  test("PF-55: a shorter datagram joins and closes the send; none may follow", () => {
    underWay(0);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(true);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(true);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES - 1)).toBe(true);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES - 1)).toBe(false);
    expect(load<u32>(WORKER, Egress.SEND_COUNT)).toBe(3);
    expect(load<u64>(TRANSIT, Transit.COUNTER)).toBe(80, "the refused one has taken no counter");
    expect(completeSend(WORKER)).toBe(true);
    sendDone(WORKER);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES - 1)).toBe(true);
  });

  test("PF-55: a longer one, another path and other ECN bits do not join", () => {
    underWay(0);
    sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES + 1)).toBe(false);
    store<u32>(TRANSIT, 1, Transit.ECN);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(false);
    store<u32>(TRANSIT, 0, Transit.ECN);
    store<u32>(load<usize>(TRANSIT, Transit.PATH), 8, Path.SERIAL);
    expect(sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES)).toBe(false);
  });

  test("WG-9: padding reaches the next 16 bytes, never the MTU, and is undone behind the packet", () => {
    underWay(0);
    store<u32>(PLANE_ADDRESS, 1, Plane.IS_PADDED);
    store<u64>(PACKET + <usize>PACKET_BYTES, 0x11223344);
    sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES);
    expect(load<u32>(WORKER, Egress.SEND_SEGMENT)).toBe(112 + OVERHEAD);
    expect(load<u64>(PACKET + <usize>PACKET_BYTES)).toBe(0x11223344);
    completeSend(WORKER);
    sendDone(WORKER);
    store<u32>(PLANE_ADDRESS, PACKET_BYTES + 3, Plane.MTU);
    sealInto(WORKER, TRANSIT, PACKET, PACKET_BYTES);
    expect(load<u32>(WORKER, Egress.SEND_SEGMENT)).toBe(PACKET_BYTES + 3 + OVERHEAD);
  });
});
