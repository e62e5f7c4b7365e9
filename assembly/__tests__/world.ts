/**
 * A plane's records in memory, for the specifications. as-pect's own data lie above 1 MiB (`memoryBase` of
 * `as-pect.asconfig.json`), so that the addresses of the layout are free below.
 */
import { Path, Peer, PLANE_ADDRESS, Plane, Ring, SESSIONS_PER_PEER, Session, Worker } from "../layout";

export const WORKER: usize = 0x50000;
export const OUTPUT: usize = 0x60000;
export const PEERS: usize = 0x80000;
export const PEER_CAPACITY: u32 = 16;
export const SESSIONS: usize = 0x84000;
export const SESSION_CAPACITY: u32 = 16;
export const INDEX: usize = 0x8c000;
export const INDEX_ENTRIES: u32 = 16;
export const RELAYS: usize = 0x8d000;
export const PATH: usize = 0x8e000;
export const RING: usize = 0x90000;
export const RING_ROWS: usize = 0x91000;
export const RING_AREA: usize = 0x92000;
export const RING_ENTRIES: u32 = 4;
export const RING_AREA_BYTES: u32 = 256;
/** For packets and frames of a specification. */
export const FREE: usize = 0xa0000;
const END: usize = 0x100000;

/** An empty plane: no peer, no session, no relay. */
export function emptyPlane(): void {
  memory.fill(PLANE_ADDRESS, 0, END - PLANE_ADDRESS);
  store<usize>(PLANE_ADDRESS, PEERS, Plane.PEERS);
  store<u32>(PLANE_ADDRESS, PEER_CAPACITY, Plane.PEER_CAPACITY);
  store<usize>(PLANE_ADDRESS, SESSIONS, Plane.SESSIONS);
  store<u32>(PLANE_ADDRESS, SESSION_CAPACITY, Plane.SESSION_CAPACITY);
  store<usize>(PLANE_ADDRESS, INDEX, Plane.INDEX);
  store<u32>(PLANE_ADDRESS, INDEX_ENTRIES - 1, Plane.INDEX_MASK);
}

/** Puts `peerId << 32 | slot` at a place of the index, as `bindings/table/peer-index.ts` does. */
export function indexPeer(place: u32, peerId: u32, slot: u32): void {
  store<u64>(INDEX + ((<usize>place) << 3), ((<u64>peerId) << 32) | <u64>slot);
  store<u32>(PEERS + <usize>slot * Peer.BYTES, peerId, Peer.PEER_ID);
}

/** A session in row `row` with that receiver index, published in its peer's ring. */
export function installSession(row: u32, slot: u32, local: u32): usize {
  const session = SESSIONS + <usize>row * Session.BYTES;
  store<u32>(session, local, Session.LOCAL);
  store<u32>(session, slot, Session.SLOT);
  store<u64>(session, u64.MAX_VALUE, Session.REJECT_LIMIT);
  const place = PEERS + <usize>slot * Peer.BYTES + ((<usize>(local & (SESSIONS_PER_PEER - 1))) << 2);
  store<u32>(place, row + 1, Peer.RING);
  return session;
}

/** A ring of RING_ENTRIES entries and RING_AREA_BYTES bytes. */
export function emptyRing(): usize {
  store<u32>(RING, RING_ENTRIES - 1, Ring.MASK);
  store<usize>(RING, RING_ROWS, Ring.ENTRIES);
  store<usize>(RING, RING_AREA, Ring.AREA);
  store<u32>(RING, RING_AREA_BYTES, Ring.AREA_BYTES);
  return RING;
}

/** The path of a frame: head room and, behind a relay, its channel. */
export function pathWith(headRoom: u32, channel: u32): usize {
  store<u32>(PATH, 7, Path.SERIAL);
  store<u32>(PATH, headRoom, Path.HEAD_ROOM);
  store<u32>(PATH, channel, Path.CHANNEL);
  return PATH;
}

/** The source of the batch at hand: an IPv4 address, in memory order. */
export function receivedFrom(address: u32, port: u32): void {
  store<u32>(WORKER, 4, Worker.FROM_BYTES);
  store<u32>(WORKER, port, Worker.FROM_PORT);
  store<u32>(WORKER, address, Worker.FROM);
}

/** The egress worker's send buffer. */
export function sendBuffer(): void {
  store<usize>(WORKER, OUTPUT, Worker.OUTPUT);
}
