import { NO_SLOT, Peer, RangeSet, Session } from "../layout";
import { noteReceived, noteSent } from "../table/activity";
import { lookup4 } from "../table/range-set";
import { currentSession, findPeer, findSession, sessionNumber, takeCounters } from "../table/session";
import { emptyPlane, FREE, INDEX_ENTRIES, indexPeer, installSession, PEERS } from "./world";

const PEER_ID: u32 = 0x123453;
const SLOT: u32 = 5;
/** The place at which probing for PEER_ID begins. */
const PLACE: u32 = PEER_ID & (INDEX_ENTRIES - 1);
const NO_PEER_ID: u32 = 0xffffffff;

describe("the table of peers", () => {
  beforeEach(() => {
    emptyPlane();
  });

  test("WG-14: a peer is found behind others that were in its way, removed ones included", () => {
    indexPeer(PLACE, NO_PEER_ID, 0);
    indexPeer(PLACE + 1, PEER_ID + 16, 1);
    indexPeer(PLACE + 2, PEER_ID, SLOT);
    expect(findPeer(PEER_ID)).toBe(SLOT);
    expect(findPeer(PEER_ID + 16)).toBe(1);
  });

  test("WG-14: an empty place ends the search", () => {
    indexPeer(PLACE, PEER_ID + 16, 1);
    indexPeer(PLACE + 2, PEER_ID, SLOT);
    expect(findPeer(PEER_ID)).toBe(NO_SLOT);
  });

  test("the search goes around the end of the table, and around a full one once", () => {
    const last = INDEX_ENTRIES - 1;
    for (let place: u32 = 0; place < INDEX_ENTRIES; place++) indexPeer(place, 0x700000 + (place << 4), 2);
    expect(findPeer(PEER_ID)).toBe(NO_SLOT);
    const id = 0x500000 | last;
    indexPeer(0, id, SLOT);
    expect(findPeer(id)).toBe(SLOT);
  });

  test("WG-41: stamps of the first since are kept, and cleared by the other direction", () => {
    const peer = PEERS + <usize>SLOT * Peer.BYTES;
    noteSent(peer, 100, 2, 300);
    noteSent(peer, 200, 1, 100);
    expect(load<u64>(peer, Peer.UNANSWERED)).toBe(100);
    expect(load<u64>(peer, Peer.SENT_ANY)).toBe(200);
    expect(load<u64>(peer, Peer.TX_PACKETS)).toBe(3);
    noteReceived(peer, 300, 0, 32);
    expect(load<u64>(peer, Peer.UNANSWERED)).toBe(0);
    expect(load<u64>(peer, Peer.UNREPLIED)).toBe(0, "a keepalive wants no answer");
    noteReceived(peer, 400, 1, 100);
    noteReceived(peer, 500, 1, 100);
    expect(load<u64>(peer, Peer.UNREPLIED)).toBe(400);
    expect(load<u64>(peer, Peer.RX_BYTES)).toBe(232);
  });
});

describe("the table of sessions", () => {
  beforeEach(() => {
    emptyPlane();
    indexPeer(PLACE, PEER_ID, SLOT);
  });

  test("WG-14: a session is found by its whole receiver index", () => {
    const session = installSession(3, SLOT, (PEER_ID << 8) | 9);
    expect(findSession((PEER_ID << 8) | 9)).toBe(session);
    expect(findSession((PEER_ID << 8) | 1)).toBe(0, "the same place of the ring, another number");
    expect(findSession((PEER_ID << 8) | 10)).toBe(0, "a place without a session");
    expect(findSession(((PEER_ID + 1) << 8) | 9)).toBe(0, "another peer");
    expect(findSession(0)).toBe(0);
  });

  test("WG-16: the current session is the row that the peer names", () => {
    const peer = PEERS + <usize>SLOT * Peer.BYTES;
    expect(currentSession(peer)).toBe(0);
    const session = installSession(3, SLOT, (PEER_ID << 8) | 9);
    expect(sessionNumber(session)).toBe(4);
    store<u32>(peer, 4, Peer.CURRENT);
    expect(currentSession(peer)).toBe(session);
  });

  test("WG-45: counters are taken in runs, never beyond the limit, and the counter never wraps", () => {
    const session = installSession(0, SLOT, (PEER_ID << 8) | 1);
    store<u64>(session, 10, Session.REJECT_LIMIT);
    expect(takeCounters(session, 8, FREE)).toBe(8);
    expect(load<u64>(FREE)).toBe(0);
    expect(takeCounters(session, 8, FREE)).toBe(2);
    expect(load<u64>(FREE)).toBe(8);
    expect(takeCounters(session, 1, FREE)).toBe(0);
    expect(load<u64>(session, Session.SEND_COUNTER)).toBe(10);
  });
});

describe("sets of prefixes", () => {
  test("TN-20: both ends of a range", () => {
    emptyPlane();
    const starts = FREE + 256;
    const values = FREE + 512;
    store<u32>(starts, 0);
    store<u32>(starts, 0x0a010000, 4);
    store<u32>(starts, 0x0a020000, 8);
    store<u32>(values, 7, 4);
    store<u32>(FREE, 3, RangeSet.COUNT4);
    store<usize>(FREE, starts, RangeSet.STARTS4);
    store<usize>(FREE, values, RangeSet.VALUES4);
    const address = FREE + 1024;
    for (let i: u32 = 0; i < 4; i++) {
      const wanted: u32 = i == 0 ? 0x0a00ffff : i == 1 ? 0x0a010000 : i == 2 ? 0x0a01ffff : 0x0a020000;
      store<u32>(address, bswap<u32>(wanted));
      expect(lookup4(FREE, address)).toBe(i == 1 || i == 2 ? 7 : 0);
    }
  });
});
