/** Frames as a TUN device with offloads gives them: IPv4, checksums left to the plane. */

const VNET_BYTES = 10;
const IP_BYTES = 20;

function frame(transportBytes, payloadBytes, { protocol, gsoType, gsoBytes, checksumOffset }) {
  const total = IP_BYTES + transportBytes + payloadBytes;
  const bytes = new Uint8Array(VNET_BYTES + total);
  const view = new DataView(bytes.buffer);
  bytes.set([1, gsoType]);
  view.setUint16(2, IP_BYTES + transportBytes, true);
  view.setUint16(4, gsoBytes, true);
  view.setUint16(6, IP_BYTES, true);
  view.setUint16(8, checksumOffset, true);
  bytes.set([0x45, 0], VNET_BYTES);
  view.setUint16(VNET_BYTES + 2, total);
  view.setUint16(VNET_BYTES + 6, 0x4000);
  bytes.set([64, protocol], VNET_BYTES + 8);
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2], VNET_BYTES + 12);
  setHeaderChecksum(view);
  // The transport's checksum field holds the sum of the pseudo-header (PF-32).
  const pseudo = 10 * 256 + 1 + 10 * 256 + 2 + protocol + transportBytes + payloadBytes;
  view.setUint16(VNET_BYTES + IP_BYTES + checksumOffset, (pseudo & 0xffff) + (pseudo >>> 16));
  for (let i = VNET_BYTES + IP_BYTES + transportBytes; i < bytes.length; i++) bytes[i] = i * 7;
  return { bytes, view };
}

function setHeaderChecksum(view) {
  let sum = 0;
  for (let i = 0; i < IP_BYTES; i += 2) sum += view.getUint16(VNET_BYTES + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(VNET_BYTES + 10, ~sum & 0xffff);
}

/** A TSO super-frame as full as the kernel makes them: whole segments of `mss` bytes. */
export function tcpFrame(mss) {
  const segments = Math.floor((65_535 - 40) / mss);
  const options = { protocol: 6, gsoType: 1, gsoBytes: mss, checksumOffset: 16 };
  const { bytes, view } = frame(20, segments * mss, options);
  view.setUint8(VNET_BYTES + IP_BYTES + 12, 5 << 4);
  view.setUint8(VNET_BYTES + IP_BYTES + 13, 0x10);
  view.setUint16(VNET_BYTES + IP_BYTES + 14, 500);
  return { bytes, packets: segments };
}

/** A single datagram. */
export function udpFrame(payloadBytes, sourcePort = 5000) {
  const options = { protocol: 17, gsoType: 0, gsoBytes: 0, checksumOffset: 6 };
  const { bytes, view } = frame(8, payloadBytes, options);
  view.setUint16(VNET_BYTES + IP_BYTES, sourcePort);
  view.setUint16(VNET_BYTES + IP_BYTES + 2, 5001);
  view.setUint16(VNET_BYTES + IP_BYTES + 4, 8 + payloadBytes);
  return { bytes, packets: 1 };
}
