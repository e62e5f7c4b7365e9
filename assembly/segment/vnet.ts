/** `struct virtio_net_hdr` (PF-31) and the few transport constants that splitting and merging share. */

export const VNET_FLAGS: usize = 0;
export const VNET_GSO_TYPE: usize = 1;
/** Header length: a hint that the kernel itself does not keep right. */
export const VNET_HDR_LEN: usize = 2;
/** Payload bytes of every segment but the last. */
export const VNET_GSO_SIZE: usize = 4;
/** Counted from the first byte of the IP packet. */
export const VNET_CSUM_START: usize = 6;
export const VNET_CSUM_OFFSET: usize = 8;

export const VNET_NEEDS_CSUM: u8 = 1;
/** The transport checksum has been verified already. */
export const VNET_DATA_VALID: u8 = 2;

export const GSO_NONE: u32 = 0;
export const GSO_TCP4: u32 = 1;
export const GSO_TCP6: u32 = 4;
/** UDP_L4; type 3 is the old fragmentation offload, which is never asked for. */
export const GSO_UDP: u32 = 5;
/** A bit beside the type: the segments' flow uses ECN (CWR only in the first). */
export const GSO_ECN: u32 = 0x80;

/** What an IPv4 total length can say; the kernel itself would take more (PF-33). */
export const IP_BYTES_MAX: u32 = 65535;
