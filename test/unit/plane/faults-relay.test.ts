/**
 * System calls of the relay's workers that fail, by script (TS-64): each error of RL-46, and those of receives, at
 * the first, the second and the 1,000th call. What is not given up under a reason arrives once, and in order.
 */
import { describe, expect, it } from "vitest";
import { CONSTANTS, type Reason } from "../../../bindings/memory/index.ts";
import { concatBytes, ip, type SocketAddress } from "../../../src/base/index.ts";
import type { RelayBinding } from "../../../src/plane/index.ts";
import type { Fault } from "../../lib/fault-script.mjs";
import { type Arrival, createRelayBench, type RelayBench } from "./relay-kernel.ts";

const E = {
  EPERM: 1,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EINVAL: 22,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
} as const;
type Name = keyof typeof E;

const NTH = [1, 2, 1000] as const;
const TIMES = 1003;
const CLIENT: SocketAddress = { address: ip("192.0.2.1"), port: 51820 };
const PEER: SocketAddress = { address: ip("203.0.113.9"), port: 40_000 };
const PORT = 50_000;
const CHANNEL = 0x4000;
const BINDING: RelayBinding = { client: CLIENT, channel: CHANNEL, port: PORT, peer: PEER, isHairpin: false };
const NUMBER_BYTES = 4;

function numberBytes(i: number): Uint8Array {
  return Uint8Array.of(i >> 24, i >> 16, i >> 8, i);
}

function channelData(data: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(CHANNEL >> 8, CHANNEL & 0xff, data.length >> 8, data.length), data);
}

/** One datagram each, or a train of three. */
function fromClient(i: number, size: number): Arrival {
  const numbers = Array.from({ length: size }, (_, j) => channelData(numberBytes(size * i + j)));
  const bytes = concatBytes(...numbers);
  return size === 1 ? { from: CLIENT, bytes } : { from: CLIENT, bytes, stride: bytes.length / size };
}

/** Numbers that reached the peer, or with their headers the client. */
function numbersOf({ sent }: RelayBench, headerBytes: number): readonly number[] {
  return sent.flatMap(({ bytes, segment }) => {
    const stride = segment ?? bytes.length;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return Array.from({ length: bytes.length / stride }, (_, i) => view.getInt32(i * stride + headerBytes));
  });
}

function bench(faults: readonly Fault[]): RelayBench {
  const made = createRelayBench(faults);
  made.publish(BINDING);
  return made;
}

function numbersBut(end: number, lost: readonly number[]): readonly number[] {
  return Array.from({ length: end }, (_, i) => i).filter((i) => !lost.includes(i + 1));
}

/** RL-46: under which reason a datagram is given up. */
const SENDS: Readonly<Partial<Record<Name, Reason | undefined>>> = {
  EINTR: undefined,
  EAGAIN: undefined,
  ENOBUFS: undefined,
  EMSGSIZE: "relay_send_too_long",
  EIO: "relay_send_error",
  EINVAL: "relay_send_error",
  EPERM: "relay_send_error",
  ENOMEM: "relay_send_error",
  ENETUNREACH: "relay_send_error",
  EHOSTUNREACH: "relay_send_error",
  ECONNREFUSED: "relay_send_error",
  EBADF: "relay_send_error",
};
// The keys of the table are names.
const SEND_CASES = Object.entries(SENDS) as [Name, Reason | undefined][];

describe("TS-64: sends of the relay that fail", () => {
  it.each(SEND_CASES)("RL-46: %s of single datagrams: %s, both ways", (name, reason) => {
    // What is tried again must not fail twice: once is waited for, the second time is the last.
    const runs: readonly (readonly number[])[] = reason === undefined ? NTH.map((nth) => [nth]) : [NTH];
    for (const places of runs) {
      const faults = places.map((nth) => ({ call: "sendmmsg", nth, errno: E[name] }));
      const expected = numbersBut(TIMES, reason === undefined ? [] : places);
      const drops = reason === undefined ? {} : { [reason]: places.length };
      const out = bench(faults);
      for (let i = 0; i < TIMES; i++) out.fromClients(fromClient(i, 1));
      expect(out.client().drops).toEqual(drops);
      expect(numbersOf(out, 0)).toEqual(expected);
      const back = bench(faults);
      for (let i = 0; i < TIMES; i++) back.fromPeers(PORT, { from: PEER, bytes: numberBytes(i) });
      expect(back.peer().drops).toEqual(drops);
      expect(numbersOf(back, CONSTANTS.CHANNEL_HEADER_BYTES)).toEqual(expected);
    }
  });

  it.each(["EIO", "EINVAL", "EMSGSIZE"] as const)(
    "RL-52: %s of a train: its datagrams go one by one",
    (name) => {
      for (const nth of NTH) {
        const relay = bench([{ call: "sendmmsg", nth, errno: E[name] }]);
        for (let i = 0; i < TIMES; i++) {
          // Behind EIO single datagrams are sent for 10 s.
          relay.now += 100;
          relay.fromClients(fromClient(i, 3));
        }
        expect(relay.client().drops).toEqual({});
        expect(numbersOf(relay, 0)).toEqual(numbersBut(3 * TIMES, []));
        const singles = relay.sent.filter(({ bytes }) => bytes.length === NUMBER_BYTES).length;
        const pausedTrains = Math.min(100, TIMES - nth + 1);
        expect(singles).toBe(name === "EIO" ? 3 * pausedTrains : 3);
      }
    },
  );
});

const RECEIVE_ERRORS = ["EINTR", "EAGAIN", "ENOMEM", "EINVAL", "EIO", "ECONNREFUSED", "ENETUNREACH"] as const;

describe("TS-64: receives of the relay that fail", () => {
  it.each(RECEIVE_ERRORS)("PG-47: %s costs no datagram, on either side", (name) => {
    const faults = NTH.map((nth) => ({ call: "recvmmsg", nth, errno: E[name] }));
    const out = bench(faults);
    for (let i = 0; i < TIMES; i++) out.fromClients(fromClient(i, 1));
    // What a failed receive has left in the socket comes with the next.
    out.fromClients();
    expect(numbersOf(out, 0)).toEqual(numbersBut(TIMES, []));
    const back = bench(faults);
    for (let i = 0; i < TIMES; i++) back.fromPeers(PORT, { from: PEER, bytes: numberBytes(i) });
    back.fromPeers(PORT);
    expect(numbersOf(back, CONSTANTS.CHANNEL_HEADER_BYTES)).toEqual(numbersBut(TIMES, []));
    const isQuiet = name === "EINTR" || name === "EAGAIN";
    expect(out.client().receiveErrnos).toEqual(isQuiet ? {} : { [E[name]]: NTH.length });
  });

  it.each(["EBADF", "ENOTSOCK"] as const)("PG-47: %s ends the loop, and says so", (name) => {
    const out = bench([{ call: "recvmmsg", nth: 1, errno: E[name] }]);
    out.fromClients(fromClient(0, 1));
    expect(out.ended).toBe(CONSTANTS.ENDED_SOCKET);
  });

  it("RL-54: epoll that is interrupted or fails now and then costs nothing, a broken one is the end", () => {
    for (const name of ["EINTR", "ENOMEM"] as const) {
      const faults = NTH.map((nth) => ({ call: "epoll_wait", nth, errno: E[name] }));
      const back = bench(faults);
      for (let i = 0; i < TIMES; i++) back.fromPeers(PORT, { from: PEER, bytes: numberBytes(i) });
      back.fromPeers(PORT);
      expect(numbersOf(back, CONSTANTS.CHANNEL_HEADER_BYTES)).toEqual(numbersBut(TIMES, []));
    }
    const broken = bench([{ call: "epoll_wait", nth: 1, errno: E.EBADF }]);
    broken.fromPeers(PORT, { from: PEER, bytes: numberBytes(0) });
    expect(broken.ended).toBe(CONSTANTS.ENDED_SOCKET);
  });
});
