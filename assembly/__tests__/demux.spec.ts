import { channelLength, isData, isRelayed, isShortData, isStun, kindForControl } from "../batch/demux";
import { EVENT_HANDSHAKE, EVENT_OTHER, EVENT_STUN, Ingress, PLANE_ADDRESS, Plane } from "../layout";
import { emptyPlane, FREE, RELAYS, receivedFrom, WORKER } from "./world";

const RELAY: u32 = 0x076433c6; // 198.51.100.7 as it lies in memory
const CHANNEL: u32 = 0x4abc;

/** The relay list with one row. */
function oneRelay(): void {
  store<u32>(RELAYS, 1);
  const row = RELAYS + 16;
  store<u32>(row, 4);
  store<u32>(row, 3478, 4);
  store<u32>(row, RELAY, 16);
  store<usize>(PLANE_ADDRESS, RELAYS, Plane.RELAYS);
}

/** Channel data of `length` bytes. */
function channelData(channel: u16, length: u16): void {
  store<u16>(FREE, bswap<u16>(channel));
  store<u16>(FREE, bswap<u16>(length), 2);
}

describe("demultiplexing by the first bytes", () => {
  beforeEach(() => {
    emptyPlane();
  });

  test("D-9: a transport message has 32 bytes at least, and zero reserved bytes", () => {
    store<u32>(FREE, 4);
    expect(isData(FREE, 32)).toBe(true);
    expect(isData(FREE, 31)).toBe(false);
    expect(isShortData(FREE, 31)).toBe(true);
    expect(isShortData(FREE, 32)).toBe(false);
    expect(isShortData(FREE, 3)).toBe(false);
    store<u32>(FREE, 0x104);
    expect(isData(FREE, 32)).toBe(false);
  });

  test("WG-4: handshake messages have exactly their length", () => {
    for (let type: u32 = 1; type <= 3; type++) {
      const bytes: u32 = type == 1 ? 148 : type == 2 ? 92 : 64;
      store<u32>(FREE, type);
      expect(kindForControl(FREE, bytes)).toBe(EVENT_HANDSHAKE);
      expect(kindForControl(FREE, bytes - 1)).toBe(EVENT_OTHER);
      expect(kindForControl(FREE, bytes + 1)).toBe(EVENT_OTHER);
    }
  });

  test("SN-1: STUN has its cookie, and a length that is a multiple of 4 and fits", () => {
    store<u16>(FREE, 0x0100);
    store<u32>(FREE, 0x42a41221, 4);
    expect(isStun(FREE, 20)).toBe(true);
    expect(kindForControl(FREE, 20)).toBe(EVENT_STUN);
    expect(isStun(FREE, 19)).toBe(false);
    expect(isStun(FREE, 24)).toBe(false);
    store<u8>(FREE, 4, 3);
    expect(isStun(FREE, 24)).toBe(true);
    store<u8>(FREE, 3, 3);
    expect(isStun(FREE, 23)).toBe(false);
    store<u8>(FREE, 0x40);
    expect(isStun(FREE, 20)).toBe(false);
  });
});

describe("channel data", () => {
  beforeEach(() => {
    emptyPlane();
    oneRelay();
    receivedFrom(RELAY, 3478);
  });

  test("SN-98: is ours from a relay of ours alone", () => {
    channelData(<u16>CHANNEL, 40);
    expect(isRelayed(WORKER, FREE, 44)).toBe(true);
    expect(load<u32>(WORKER, Ingress.CHANNEL)).toBe(CHANNEL);
    expect(channelLength(FREE)).toBe(40);
    store<u32>(WORKER, 0, Ingress.CHANNEL);
    receivedFrom(RELAY + 1, 3478);
    expect(isRelayed(WORKER, FREE, 44)).toBe(false);
    receivedFrom(RELAY, 3479);
    expect(isRelayed(WORKER, FREE, 44)).toBe(false);
  });

  test("SN-128: every channel of it is, one after the other in a batch", () => {
    for (let channel: u16 = <u16>CHANNEL; channel < <u16>CHANNEL + 3; channel++) {
      channelData(channel, 40);
      expect(isRelayed(WORKER, FREE, 44)).toBe(true);
      expect(load<u32>(WORKER, Ingress.CHANNEL)).toBe(<u32>channel);
    }
  });

  test("RFC 8656 §12.5: up to 3 bytes of padding follow the message, and none are missing", () => {
    channelData(<u16>CHANNEL, 40);
    expect(isRelayed(WORKER, FREE, 47)).toBe(true);
    expect(isRelayed(WORKER, FREE, 48)).toBe(false);
    expect(isRelayed(WORKER, FREE, 43)).toBe(false);
    expect(isRelayed(WORKER, FREE, 3)).toBe(false);
  });
});
