/** What a file says, as one change of an interface (WG-63, WG-66). */
import type { WgConfig } from "./config-file.ts";
import type { WgSet } from "./uapi.ts";

/** The file as one change of an empty interface; names of endpoints are resolved by the program. */
export function toSet(config: WgConfig): WgSet {
  return {
    privateKey: { key: config.privateKey },
    replacePeers: false,
    peers: config.peers.map(({ publicKey, presharedKey, endpoint, keepaliveSeconds, allowedIps }) => ({
      publicKey,
      remove: false,
      updateOnly: false,
      presharedKey: { key: presharedKey },
      ...(endpoint?.kind === "address" && { endpoint: endpoint.address }),
      keepaliveSeconds,
      replaceAllowedIps: false,
      allowedIps: allowedIps.map((prefix) => ({ prefix, remove: false })),
    })),
  };
}
