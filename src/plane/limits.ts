/**
 * Peers that the plane has rows for and control lets in: one number for both, since a slot beyond the table would be a
 * defect. A gateway's room is reserved, not taken: memory that no peer has used costs nothing.
 */
export const TUNNEL_PEERS_MAX = { client: 1_024, gateway: 16_384 } as const;
