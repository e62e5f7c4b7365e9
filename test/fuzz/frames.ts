/** Frames of the TUN device with virtio headers that may lie (PF-31, PF-32), super-frames among them. */
import { concatBytes, ip } from "../../src/base/index.ts";
import { encodeVnet, type VnetHeader } from "../twin/plane/split.ts";
import { tcp, udp } from "../unit/plane/packets.ts";
import type { Chance } from "./chance.ts";
import { createInnerPackets } from "./inner-packets.ts";
import { BY_FLOW, OUTSIDE, type PlaneWorld } from "./plane-world.ts";

export interface FrameSource {
  frame(): Uint8Array<ArrayBuffer>;
}

/** Routes of `plane-world.ts`: first packet to control, refusal, drop, a vacant slot; and by flow. */
const VERDICTS = ["10.50.0.1", "10.60.0.1", "10.70.0.1", "10.80.0.1"].map(ip);

const BY_ROUTE = ["10.55.0.1", "fd55::1"].map(ip);

const PLAIN: VnetHeader = {
  needsChecksum: false,
  gsoType: 0,
  headerBytes: 0,
  gsoBytes: 0,
  checksumStart: 0,
  checksumOffset: 0,
};

export function createFrameSource(chance: Chance, world: PlaneWorld): FrameSource {
  const granted = [ip("10.2.0.9"), ip("fd02::9")];
  const own = world.policy.ownAddresses ?? [...granted, ...granted, ...granted, ...BY_FLOW, ...OUTSIDE];
  const peers = world.peers.flatMap(({ v4, v6 }) => [v4, v6]);
  // Each peer twice as often as a route that leads to a verdict.
  const destinations = [...peers, ...peers, ...VERDICTS, ...BY_ROUTE, ...BY_ROUTE];
  const inner = createInnerPackets(chance, {
    own,
    foreign: peers,
    destinations,
    payloadMax: world.mtu - 80,
  });

  /** As the kernel makes them, of one flow. */
  function superFrame(): Uint8Array<ArrayBuffer> {
    const family = chance.pick([4, 6] as const);
    const ofFamily = (list: readonly Uint8Array[]) =>
      chance.pick(list.filter(({ length }) => length === (family === 4 ? 4 : 16)));
    const isTcp = !chance.isOneIn(3);
    const ends = { family, source: ofFamily(own), destination: ofFamily(destinations) } as const;
    const payload = chance.bytes(chance.pick([0, 1, 100, 5000, chance.below(60_000)]));
    const flags = chance.pick([0x10, 0x18, 0x11, 0x90, 0x02]);
    const packet = isTcp ? tcp(payload, { ...ends, flags }) : udp(payload, ends);
    const start = family === 4 ? 20 : 40;
    const vnet: VnetHeader = {
      needsChecksum: true,
      gsoType: isTcp ? (family === 4 ? 1 : 4) : 5,
      headerBytes: start + (isTcp ? 20 : 8),
      gsoBytes: chance.pick([world.mtu - start - 20, 500, 1200, 1, chance.below(2000)]),
      checksumStart: start,
      checksumOffset: isTcp ? 16 : 6,
    };
    // Tiny segments of a large frame would be tens of thousands: the kernel's own limit is 64 of UDP.
    const segments = payload.length / Math.max(1, vnet.gsoBytes);
    const gsoBytes = segments > 200 ? 1200 : vnet.gsoBytes;
    return concatBytes(encodeVnet(lie(chance, { ...vnet, gsoBytes })), packet);
  }

  /** One packet, whose checksum the kernel may have left to us. */
  function single(): Uint8Array<ArrayBuffer> {
    const packet = inner.hostile();
    const isV6 = (packet[0] ?? 0) >> 4 === 6;
    const partial: VnetHeader = {
      ...PLAIN,
      needsChecksum: true,
      checksumStart: isV6 ? 40 : 20,
      checksumOffset: chance.pick([6, 16]),
    };
    return concatBytes(encodeVnet(lie(chance, chance.isOneIn(3) ? partial : PLAIN)), packet);
  }

  return {
    frame() {
      const frame = chance.isOneIn(3) ? superFrame() : single();
      if (chance.isOneIn(30)) return frame.slice(0, chance.below(frame.length + 1));
      return frame;
    },
  };
}

/** One field in four frames is not what it should be. */
function lie(chance: Chance, vnet: VnetHeader): VnetHeader {
  if (!chance.isOneIn(4)) return vnet;
  switch (chance.below(6)) {
    case 0:
      return { ...vnet, gsoType: chance.pick([0, 1, 2, 3, 4, 5, 6, 0x81, 0x84, 0x85, 255]) };
    case 1:
      return { ...vnet, gsoBytes: chance.pick([0, 1400, 2000, 65_535]) };
    case 2:
      return { ...vnet, headerBytes: chance.pick([0, 1, 20, 65_535]) };
    case 3:
      return { ...vnet, checksumStart: chance.pick([0, 19, 20, 40, 60, 1000, 65_535]) };
    case 4:
      return { ...vnet, checksumOffset: chance.pick([0, 6, 16, 17, 1000, 65_535]) };
    default:
      return { ...vnet, needsChecksum: !vnet.needsChecksum };
  }
}
