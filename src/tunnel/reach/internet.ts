/** Everything that no other resource covers (TN-21 no. 3, TN-23, TN-59). Not served yet. */
import type { Reach } from "./face.ts";

export function internetReach(): Reach {
  return {
    networks: [],
    allows: () => false,
    identity: "internet",
    rank: 0,
    obstacle: "this version does not serve the internet resource",
  };
}
