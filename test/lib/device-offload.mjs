/**
 * What `ethtool -K` does, for machines without it: offloads of a device of the calling thread's namespace.
 *
 *   node device-offload.mjs DEVICE on|off OFFLOAD…
 */
import { argv } from "node:process";
import { pathToFileURL } from "node:url";
import koffi from "koffi";

const SIOCETHTOOL = 0x8946;
const [AF_INET, SOCK_DGRAM] = [2, 2];
const IFREQ_BYTES = 40;
const IFREQ_DATA = 16;
/** linux/ethtool.h: ETHTOOL_S… */
const COMMANDS = { rx: 0x15, tx: 0x17, sg: 0x19, tso: 0x1f, gso: 0x24, gro: 0x2c };

const libc = koffi.load("libc.so.6");
const socket = libc.func("socket", "int", ["int", "int", "int"]);
const ioctl = libc.func("ioctl", "int", ["int", "ulong", "uintptr_t"]);
const close = libc.func("close", "int", ["int"]);

/** @throws Error when the device does not let itself be told */
export function setOffload(device, offload, isOn) {
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

if (import.meta.url === pathToFileURL(argv[1] ?? "").href) {
  const [device, state, ...offloads] = argv.slice(2);
  for (const offload of offloads) setOffload(device, offload, state === "on");
}
