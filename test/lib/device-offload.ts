/** What `ethtool -K` does, for machines without it: offloads of a device of the calling thread's namespace. */
import koffi from "koffi";

const SIOCETHTOOL = 0x8946;
const [AF_INET, SOCK_DGRAM] = [2, 2];
const IFREQ_BYTES = 40;
const IFREQ_DATA = 16;
/** linux/ethtool.h: ETHTOOL_S… */
const COMMANDS = { rx: 0x15, tx: 0x17, sg: 0x19, tso: 0x1f, gso: 0x24, gro: 0x2c } as const;
export type Offload = keyof typeof COMMANDS;

const libc = koffi.load("libc.so.6");
const socket: (family: number, type: number, protocol: number) => number = libc.func("socket", "int", [
  "int",
  "int",
  "int",
]);
const ioctl: (fd: number, request: number, at: number | bigint) => number = libc.func("ioctl", "int", [
  "int",
  "ulong",
  "uintptr_t",
]);
const close: (fd: number) => number = libc.func("close", "int", ["int"]);

/** @throws Error when the device does not let itself be told */
export function setOffload(device: string, offload: Offload, isOn: boolean): void {
  const value = new Uint8Array(Uint32Array.of(COMMANDS[offload], isOn ? 1 : 0).buffer);
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(new TextEncoder().encode(device));
  new DataView(request.buffer).setBigUint64(IFREQ_DATA, BigInt(koffi.address(value)), true);
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  const result = ioctl(fd, SIOCETHTOOL, koffi.address(request));
  const errno = koffi.errno();
  close(fd);
  if (result !== 0) throw new Error(`cannot set ${offload} of ${device}: errno ${errno}`);
}
