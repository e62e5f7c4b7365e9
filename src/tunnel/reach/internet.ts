/** Everything that no other resource covers, but no network of the gateway's own (TN-21 no. 3, TN-59). */
import { type Prefix, prefix, subtract } from "../../base/index.ts";
import { EVERYTHING } from "../constants.ts";
import type { Reach } from "./face.ts";

/** "Internet" does not open private networks, nor what is no unicast address of somebody else. */
const NOT_INTERNET: readonly Prefix[] = [
  prefix("0.0.0.0/8"),
  prefix("10.0.0.0/8"),
  prefix("100.64.0.0/10"),
  prefix("127.0.0.0/8"),
  prefix("169.254.0.0/16"),
  prefix("172.16.0.0/12"),
  prefix("192.168.0.0/16"),
  // Multicast, and what is reserved behind it.
  prefix("224.0.0.0/3"),
  prefix("::/128"),
  prefix("::1/128"),
  prefix("::ffff:0:0/96"),
  prefix("fc00::/7"),
  prefix("fe80::/10"),
  prefix("ff00::/8"),
];

const INTERNET: Reach = {
  networks: EVERYTHING.flatMap((range) => subtract(range, NOT_INTERNET)),
  routes: EVERYTHING,
  isRest: true,
  permits: () => true,
  isFiltered: false,
  identity: "internet",
  rank: 0,
};

export function internetReach(): Reach {
  return INTERNET;
}
