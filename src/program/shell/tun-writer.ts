/** Packets of control's own for the TUN device: refusals and answers (D-10). */
import { type Kernel, type Tun, VNET_HEADER_BYTES } from "../../../bindings/linux/index.ts";

export interface TunWriter {
  /** Writes one packet with complete checksums. What the device refuses is counted. */
  write(packet: Uint8Array): void;
  refused(): number;
}

export function createTunWriter(kernel: Kernel, tun: Tun): TunWriter {
  let refused = 0;
  return {
    write(packet) {
      const headerBytes = tun.hasVnetHeader ? VNET_HEADER_BYTES : 0;
      kernel.scratch.frame((room) => {
        const at = room.take(headerBytes + packet.length);
        const frame = room.bytes(at, headerBytes + packet.length);
        // A header of zeros: no segmentation, nothing left to compute.
        frame.fill(0, 0, headerBytes);
        frame.set(packet, headerBytes);
        if (kernel.sys.write(tun.fd, at, frame.length) < 0) refused++;
      });
    },
    refused: () => refused,
  };
}
