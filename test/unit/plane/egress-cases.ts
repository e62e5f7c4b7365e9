/** What tests of the egress loop have in common: errors of Linux, and a frame from the device. */
import { concatBytes } from "../../../src/base/index.ts";
import { encodeVnet } from "../../twin/plane/split.ts";
import { counting, tcp } from "./packets.ts";
import { NET_A, NET_B } from "./pair.ts";

/** errno(3), by name. */
export const E = {
  EPERM: 1,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EINVAL: 22,
  EBADFD: 77,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
} as const;

export const ROUTED = { family: 4, source: NET_A.v4, destination: NET_B.v4 } as const;

/** Three datagrams of 1,072 bytes and one of 128: one send. */
export const SUPER = concatBytes(
  encodeVnet({
    needsChecksum: true,
    gsoType: 1,
    headerBytes: 40,
    gsoBytes: 1000,
    checksumStart: 20,
    checksumOffset: 16,
  }),
  tcp(counting(3056), ROUTED),
);
