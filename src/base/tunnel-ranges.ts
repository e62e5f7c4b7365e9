/** Where clients and gateways have their tunnel addresses (TN-15, PT-103). */
import { type Prefix, prefix } from "./prefix.ts";

export const TUNNEL_V4: Prefix = prefix("100.64.0.0/11");
export const TUNNEL_V6: Prefix = prefix("fd00:2021:1111::/107");
