/** Sockets, their options and control messages: the values of the uapi headers (PF-36, PF-37, PF-41). */

export const AF_UNSPEC = 0;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_BINDTODEVICE = 25;
export const SO_ATTACH_FILTER = 26;
export const SO_DETACH_FILTER = 27;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_MARK = 36;
export const SO_REUSEPORT = 15;
export const SO_RXQ_OVFL = 40;
export const SO_BINDTOIFINDEX = 62;

export const IPPROTO_IP = 0;
export const IP_TOS = 1;
export const IP_PKTINFO = 8;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTOS = 13;
export const IP_MTU = 14;
/** No DF: whoever finds it too long may cut it up. */
export const IP_PMTUDISC_DONT = 0;
/** Learn the path's MTU, and fragment what does not fit (PG-43). */
export const IP_PMTUDISC_WANT = 1;
/** Send nothing that does not fit; of IPv6 the same number. */
export const IP_PMTUDISC_DO = 2;

/** Never fragment, and believe no ICMP about the path's MTU (RL-50); of IPv6 the same number. */
export const IP_PMTUDISC_PROBE = 3;
/** Believe no ICMP, and set no DF: what a device or the way does not take may be cut up; of IPv6 the same number. */
export const IP_PMTUDISC_OMIT = 5;

export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_NOTSENT_LOWAT = 25;

export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

export const IPPROTO_IPV6 = 41;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_MTU = 24;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;
export const IPV6_PMTUDISC_WANT = 1;
export const IPV6_PMTUDISC_OMIT = 5;

export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;
export const SOCKADDR_UN_BYTES = 110;

/** `struct msghdr` on 64-bit Linux (PF-37). */
export const MSGHDR_BYTES = 56;
export const MSGHDR_NAME = 0;
export const MSGHDR_NAME_BYTES = 8;
export const MSGHDR_IOV = 16;
export const MSGHDR_IOV_COUNT = 24;
export const MSGHDR_CONTROL = 32;
export const MSGHDR_CONTROL_BYTES = 40;
export const MSGHDR_FLAGS = 48;
/** `struct mmsghdr`: a `struct msghdr`, then the number of bytes u32. */
export const MMSGHDR_BYTES = 64;
export const MMSGHDR_LENGTH = 56;
/** `struct iovec`: base and length, u64 each. */
export const IOVEC_BYTES = 16;
/** `struct cmsghdr`: u64 length with the header, i32 level, i32 type. */
export const CMSGHDR_BYTES = 16;
