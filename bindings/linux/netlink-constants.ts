/** linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, fib_rules.h: what routing control uses. */

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const SOL_NETLINK = 270;
/** Error messages carry text (extended acknowledgement). */
export const NETLINK_EXT_ACK = 11;
/** Acknowledgements do not repeat the request. */
export const NETLINK_CAP_ACK = 10;
/** Dumps obey their filters. */
export const NETLINK_GET_STRICT_CHK = 12;

/** `struct sockaddr_nl`: family u16, padding u16, port u32, groups u32. */
export const SOCKADDR_NL_BYTES = 12;
/** `struct nlmsghdr`: length u32, type u16, flags u16, sequence u32, port u32. */
export const NLMSGHDR_BYTES = 16;
/** `struct nlattr`: length u16 with the header, type u16. */
export const NLATTR_BYTES = 4;
export const NLATTR_TYPE_MASK = 0x3fff;
export const NLATTR_NESTED = 0x8000;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
/** The dump changed while it was read: read it again. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_ACK_TLVS = 0x200;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSGERR_ATTR_MSG = 1;

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;
export const RTM_NEWNETCONF = 80;
export const RTM_DELNETCONF = 81;

/** Multicast groups as bits for `bind` (PG-34, PG-152). */
export const RTMGRP_LINK = 0x1;
export const RTMGRP_IPV4_IFADDR = 0x10;
export const RTMGRP_IPV4_ROUTE = 0x40;
export const RTMGRP_IPV6_IFADDR = 0x100;
export const RTMGRP_IPV6_ROUTE = 0x400;
/** Groups that rtnetlink.h numbers instead of giving a bit: number n is bit n - 1. */
export const RTMGRP_IPV4_RULE = 1 << 7;
export const RTMGRP_IPV6_RULE = 1 << 18;
export const RTMGRP_IPV4_NETCONF = 1 << 23;
export const RTMGRP_IPV6_NETCONF = 1 << 24;
/** linux/netfilter/nfnetlink.h: changes of nftables. */
export const NFGRP_NFTABLES = 1 << 6;

/** `struct ifinfomsg`: family u8, pad u8, type u16, index i32, flags u32, change u32. */
export const IFINFOMSG_BYTES = 16;
export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_POINTOPOINT = 0x10;
export const IFF_RUNNING = 0x40;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_MASTER = 10;
export const IFLA_TXQLEN = 13;
export const IFLA_OPERSTATE = 16;
export const IFLA_LINKINFO = 18;
export const IFLA_AF_SPEC = 26;
export const IFLA_INFO_KIND = 1;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;
export const IF_OPER_UNKNOWN = 0;
export const IF_OPER_UP = 6;

/** `struct ifaddrmsg`: family u8, prefix length u8, flags u8, scope u8, index u32. */
export const IFADDRMSG_BYTES = 8;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_FLAGS = 8;
export const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;

/**
 * `struct rtmsg`: family, destination length, source length, tos, table, protocol, scope, type: u8
 * each, then flags u32.
 */
export const RTMSG_BYTES = 12;
export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
export const RTA_PREFSRC = 7;
export const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
export const RTA_MARK = 16;
export const RTA_VIA = 18;
export const RTA_NH_ID = 30;
export const RT_TABLE_UNSPEC = 0;
export const RT_TABLE_MAIN = 254;
export const RTN_UNICAST = 1;
export const RTPROT_KERNEL = 2;
export const RTPROT_STATIC = 4;
export const RTPROT_RA = 9;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;

/**
 * `struct fib_rule_hdr`: family, destination length, source length, tos, table, 2 reserved, action:
 * u8 each, then flags u32.
 */
export const FIB_RULE_HDR_BYTES = 12;
export const FIB_RULE_INVERT = 0x2;
export const FR_ACT_TO_TBL = 1;
export const FRA_PRIORITY = 6;
export const FRA_FWMARK = 10;
export const FRA_SUPPRESS_PREFIXLEN = 14;
export const FRA_TABLE = 15;
export const FRA_FWMASK = 16;
export const FRA_PROTOCOL = 21;

/** The kernel writes at most this much at once into a dump. */
export const RECEIVE_BYTES = 0x8000;
