/** linux/if_tun.h and the ioctls of linux/sockios.h that go with it (PF-29, PF-30). */

export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNGETFEATURES = 0x800454cf;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const SIOCGIFINDEX = 0x8933;

export const IFF_TUN = 0x0001;
export const IFF_MULTI_QUEUE = 0x0100;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;

export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_TSO6 = 0x04;
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;

/** `struct ifreq`: the name in 16 bytes with its final zero, then a union of 24. */
export const IFREQ_BYTES = 40;
export const IFREQ_FLAGS = 16;
export const IFREQ_INDEX = 16;
/** Longest interface name, without the final zero. */
export const IFNAME_BYTES_MAX = 15;

/** `struct virtio_net_hdr` without the merge field (PF-31). */
export const VNET_HEADER_BYTES = 10;
