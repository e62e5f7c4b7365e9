/** Numbers by which Postern is known to the host's network (programs.md §1). */
/** Mark of the program's own sockets; the reference's, so that both can live on one host. */
export const FWMARK = 0xfd002021;

export const TABLE_RESOURCES = 0x2021fe00;
export const TABLE_LINK = 0x2021fe01;
export const TABLE_INTERNET = 0x2021fe02;

export const TUN_TXQUEUELEN = 1000;

/** Mark and first table that wg-quick uses for default routes (WG-64). */
export const WG_FWMARK = 51820;
export const WG_TABLE = 51820;

/**
 * Protocol number of the rules of `postern wg`, by which leftovers of a crash are found (D-22). It is
 * nobody's in iproute2's list.
 */
export const WG_RULE_PROTOCOL = 80;
/** The same where the last instance to end sets `src_valid_mark` back to 0. */
export const WG_RULE_PROTOCOL_RESTORES = 81;

/** What has to be done once for IPv4 and once for IPv6. */
export const FAMILIES = [4, 6] as const;
