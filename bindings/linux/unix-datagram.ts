/** One datagram to a Unix socket (unix(7)), which no runtime can send. */
import { errnoNumber } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCKADDR_UN_BYTES } from "./socket-constants.ts";

const FAMILY_BYTES = 2;

/**
 * Sends without waiting. A leading `@` stands for the zero byte of an abstract name.
 *
 * @returns 0, or the error number
 */
export function sendUnixDatagram(kernel: Kernel, path: string, bytes: Uint8Array): number {
  const { sys, scratch } = kernel;
  const name = encodeUnixName(path);
  if (name === undefined) return errnoNumber("EINVAL");
  const fd = sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return sys.errno();
  try {
    return scratch.frame((room) => {
      if (sys.connect(fd, room.put(name), name.length) < 0) return sys.errno();
      return sys.write(fd, room.put(bytes), bytes.length) < 0 ? sys.errno() : 0;
    });
  } finally {
    sys.close(fd);
  }
}

/** `struct sockaddr_un`: a path ends with a zero byte, an abstract name begins with one and has its own length. */
export function encodeUnixName(path: string): Uint8Array<ArrayBuffer> | undefined {
  const isAbstract = path.startsWith("@");
  if (!isAbstract && !path.startsWith("/")) return undefined;
  const text = new TextEncoder().encode(path);
  const length = FAMILY_BYTES + text.length + (isAbstract ? 0 : 1);
  if (length > SOCKADDR_UN_BYTES) return undefined;
  const name = new Uint8Array(length);
  name[0] = AF_UNIX;
  name.set(text, FAMILY_BYTES);
  if (isAbstract) name[FAMILY_BYTES] = 0;
  return name;
}
