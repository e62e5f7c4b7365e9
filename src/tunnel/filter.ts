/**
 * A port filter of a resource (TN-56). The packet path does not evaluate filters yet, so whoever
 * meets a non-empty list grants nothing: access never becomes wider than what was meant.
 */
export type Filter =
  | { readonly protocol: "tcp" | "udp"; readonly firstPort: number; readonly lastPort: number }
  | { readonly protocol: "icmp" }
  /** A protocol that this version does not know: permits nothing, keeps the list non-empty. */
  | { readonly protocol: "unknown" };
