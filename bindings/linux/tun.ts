/** The TUN device: super-frames with a virtio header, offloads as far as the kernel goes (PG-27 to PG-29). */
import { existsSync, mkdirSync } from "node:fs";
import { PosternError } from "../../src/base/index.ts";
import { describeErrno, hostError, isErrno, SystemCallError } from "./errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from "./socket-constants.ts";
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TUN,
  IFF_VNET_HDR,
  IFNAME_BYTES_MAX,
  IFREQ_BYTES,
  IFREQ_FLAGS,
  IFREQ_INDEX,
  SIOCGIFINDEX,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
  TUNGETFEATURES,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  TUNSETVNETHDRSZ,
  VNET_HEADER_BYTES,
} from "./tun-constants.ts";

/** All that the plane can take: checksums, TCP and UDP segmentation, both families. */
export const OFFLOADS_ALL = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
/** Without UDP segmentation, which older kernels refuse. */
export const OFFLOADS_TCP = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

export interface TunOptions {
  /** At most 15 bytes. */
  readonly name: string;
  /** Sets to try, best first; 0 is tried after them. Default: all, then TCP's. */
  readonly offloads?: readonly number[];
  /** Queues, each with a descriptor of its own; default 1. The kernel gives each flow to one of them (PG-28). */
  readonly queues?: number;
}

export interface Tun {
  /** The first queue. */
  readonly fd: number;
  /** The other queues. */
  readonly others: readonly number[];
  readonly name: string;
  readonly index: number;
  /** The accepted TUN_F_ bits; 0: every read is one packet with complete checksums. */
  readonly offloads: number;
  /** Whether reads and writes begin with the 10 bytes of PF-31. */
  readonly hasVnetHeader: boolean;
  /** Closes our descriptors: the device disappears with its addresses and routes. */
  close(): void;
}

export const TUN_PATH = "/dev/net/tun";
const NEEDS_PRIVILEGE = "run as root or grant CAP_NET_ADMIN";

/**
 * Creates the device. One of the same name that no process holds is a leftover and is replaced (PG-29).
 *
 * @throws PosternError `privilege`; `host` when it is in use or cannot be had
 */
export function openTun(kernel: Kernel, options: TunOptions): Tun {
  const { sys } = kernel;
  const { name } = options;
  const queues = options.queues ?? 1;
  if (findInterface(kernel, name) !== undefined) {
    // Without several queues, as whoever holds a device with several would get another one.
    const leftover = attach(kernel, name, true, 1);
    // Attaching worked, so no process holds the device. Without persistence it goes with our descriptor.
    sys.ioctlValue(leftover.fd, TUNSETPERSIST, 0);
    sys.close(leftover.fd);
    if (findInterface(kernel, name) !== undefined) throw inUse(name, "device exists");
  }
  const { fd, hasVnetHeader } = attach(kernel, name, false, queues);
  const others: number[] = [];
  const close = (): void => {
    for (const one of [fd, ...others]) sys.close(one);
  };
  try {
    while (others.length < queues - 1) others.push(attach(kernel, name, true, queues).fd);
    if (hasVnetHeader) setVnetHeader(kernel, fd);
    const index = findInterface(kernel, name);
    if (index === undefined) throw new PosternError("host", `device ${name} is gone again`);
    const offloads = hasVnetHeader ? setOffloads(kernel, fd, options.offloads) : 0;
    return { fd, others, name, index, offloads, hasVnetHeader, close };
  } catch (error) {
    close();
    throw error;
  }
}

interface Queue {
  readonly fd: number;
  readonly hasVnetHeader: boolean;
}

/** Opens the control device and binds it to `name`, or to one of its queues. */
function attach(kernel: Kernel, name: string, isThere: boolean, queues: number): Queue {
  const { sys } = kernel;
  const fd = openControlDevice(kernel);
  const hasVnetHeader = knowsVnetHeader(kernel, fd);
  const flags = IFF_TUN | IFF_NO_PI | (hasVnetHeader ? IFF_VNET_HDR : 0) | (queues > 1 ? IFF_MULTI_QUEUE : 0);
  const errno = setInterface(kernel, fd, name, flags);
  if (errno === 0) return { fd, hasVnetHeader };
  sys.close(fd);
  // The last two: it has other flags, or another owner.
  if (isErrno(errno, "EBUSY") || (isThere && isErrno(errno, "EINVAL", "EPERM")))
    throw inUse(name, describeErrno(errno));
  if (isErrno(errno, "EPERM")) {
    throw new PosternError(
      "privilege",
      `cannot create device ${name}: ${describeErrno(errno)}`,
      NEEDS_PRIVILEGE,
      {
        cause: new SystemCallError("TUNSETIFF", errno),
      },
    );
  }
  throw hostError(`cannot create device ${name}`, "TUNSETIFF", errno);
}

function inUse(name: string, why: string): PosternError {
  return new PosternError(
    "host",
    `device ${name} is in use`,
    "stop the program that holds it, or choose another name with --tun-name (of wg: another name of the file)",
    { cause: new Error(why) },
  );
}

function openControlDevice(kernel: Kernel): number {
  const { sys } = kernel;
  const flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
  let fd = sys.open(TUN_PATH, flags, 0);
  let errno = fd < 0 ? sys.errno() : 0;
  if (isErrno(errno, "ENOENT", "ENOTDIR") && createConnections(kernel)) {
    fd = sys.open(TUN_PATH, flags, 0);
    errno = fd < 0 ? sys.errno() : 0;
  }
  if (fd >= 0) return fd;
  const hint = isErrno(errno, "EACCES", "EPERM")
    ? NEEDS_PRIVILEGE
    : "load the kernel module tun, or pass --device /dev/net/tun to the container";
  throw hostError(`cannot open ${TUN_PATH}`, "open", errno, hint);
}

const MISC_MAJOR = 10;
const TUN_MINOR = 200;

/** Creates the device node where a minimal container lacks it (PG-27). */
function createConnections(kernel: Kernel): boolean {
  try {
    if (!existsSync("/dev/net")) mkdirSync("/dev/net", { mode: 0o751 });
  } catch {
    // Not ours to create: the caller reports that the device cannot be opened.
    return false;
  }
  return kernel.sys.createCharacterDevice(TUN_PATH, 0o600, MISC_MAJOR, TUN_MINOR) === 0;
}

function setInterface(kernel: Kernel, fd: number, name: string, flags: number): number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const request = room.take(IFREQ_BYTES);
    encodeInterfaceName(name, room.bytes(request, IFREQ_BYTES));
    room.view.setUint16(request + IFREQ_FLAGS, flags, true);
    return sys.ioctl(fd, TUNSETIFF, request) < 0 ? sys.errno() : 0;
  });
}

/** Writes the name of `struct ifreq`. */
export function encodeInterfaceName(name: string, request: Uint8Array): void {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > IFNAME_BYTES_MAX) {
    throw new PosternError("usage", `interface name '${name}' is not 1 to ${IFNAME_BYTES_MAX} bytes long`);
  }
  request.fill(0, 0, IFNAME_BYTES_MAX + 1);
  request.set(bytes);
}

/**
 * The index of an interface of this network namespace; `undefined` when there is none.
 *
 * @throws PosternError `host` when the kernel does not say; `usage` for what can be no name
 */
export function findInterface(kernel: Kernel, name: string): number | undefined {
  const { sys, scratch } = kernel;
  const what = `cannot look for interface ${name}`;
  const fd = sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw hostError(what, "socket", sys.errno());
  try {
    return scratch.frame((room) => {
      const request = room.take(IFREQ_BYTES);
      encodeInterfaceName(name, room.bytes(request, IFREQ_BYTES));
      if (sys.ioctl(fd, SIOCGIFINDEX, request) === 0) return room.view.getInt32(request + IFREQ_INDEX, true);
      const errno = sys.errno();
      if (isErrno(errno, "ENODEV")) return undefined;
      throw hostError(what, "SIOCGIFINDEX", errno);
    });
  } finally {
    sys.close(fd);
  }
}

/** The same of a name that a file of the host gives, for which there may be no interface, or no answer now. */
export function interfaceIndex(kernel: Kernel, name: string): number | undefined {
  try {
    return findInterface(kernel, name);
  } catch {
    // Asked again with the next question.
    return undefined;
  }
}

/** Whether the driver knows virtio headers. */
function knowsVnetHeader(kernel: Kernel, fd: number): boolean {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(4);
    return sys.ioctl(fd, TUNGETFEATURES, at) === 0 && (room.view.getUint32(at, true) & IFF_VNET_HDR) !== 0;
  });
}

function setVnetHeader(kernel: Kernel, fd: number): void {
  const { sys, scratch } = kernel;
  scratch.frame((room) => {
    const at = room.take(4);
    room.view.setInt32(at, VNET_HEADER_BYTES, true);
    if (sys.ioctl(fd, TUNSETVNETHDRSZ, at) < 0) {
      throw hostError("cannot set the size of the TUN's packet header", "TUNSETVNETHDRSZ", sys.errno());
    }
  });
}

/** The first set that the kernel takes; UDP segmentation came late, hence the steps (PF-30). */
function setOffloads(
  kernel: Kernel,
  fd: number,
  wanted: readonly number[] = [OFFLOADS_ALL, OFFLOADS_TCP],
): number {
  for (const set of wanted) if (kernel.sys.ioctlValue(fd, TUNSETOFFLOAD, set) === 0) return set;
  kernel.sys.ioctlValue(fd, TUNSETOFFLOAD, 0);
  return 0;
}
