/**
 * Which peers a client may have the relay send to (RL-57). Without it every customer could reach the relay's
 * own network, and the metadata service of whoever hosts it, through the relay.
 */
import {
  contains,
  equalIp,
  type IpAddress,
  LOOPBACK,
  type Prefix,
  prefix,
  type SocketAddress,
} from "../base/index.ts";

export interface PeerPolicyOptions {
  readonly publicAddresses: readonly IpAddress[];
  /** Allocation ports, both ends included. */
  readonly ports: { readonly lowest: number; readonly highest: number };
  readonly privatePeers: "auto" | "allow" | "deny";
  readonly deniedPeers: readonly Prefix[];
  readonly allowLoopbackPeers: boolean;
}

export type PeerVerdict = "allowed" | "denied" | "hairpin";

export interface PeerPolicy {
  judge(peer: SocketAddress): PeerVerdict;
}

/** Never a peer. Addresses that carry an IPv4 address inside would get round the rules for that one. */
const NEVER: readonly Prefix[] = [
  "0.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/96",
  "::ffff:0:0/96",
  "64:ff9b::/96",
  "fe80::/10",
  "ff00::/8",
].map(prefix);

const PRIVATE: readonly Prefix[] = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "fc00::/7",
].map(prefix);

export function createPeerPolicy(options: PeerPolicyOptions): PeerPolicy {
  const { publicAddresses, ports, privatePeers, allowLoopbackPeers } = options;
  const deniesPrivate =
    privatePeers === "deny" || (privatePeers === "auto" && publicAddresses.some(isGloballyRoutable));
  const denied = [...options.deniedPeers, ...(deniesPrivate ? PRIVATE : [])];
  return {
    judge({ address, port }) {
      if (publicAddresses.some((own) => equalIp(own, address))) {
        return port >= ports.lowest && port <= ports.highest ? "hairpin" : "denied";
      }
      if (isIn(LOOPBACK, address)) return allowLoopbackPeers ? "allowed" : "denied";
      return isIn(NEVER, address) || isIn(denied, address) ? "denied" : "allowed";
    },
  };
}

function isGloballyRoutable(address: IpAddress): boolean {
  return !isIn(LOOPBACK, address) && !isIn(NEVER, address) && !isIn(PRIVATE, address);
}

function isIn(prefixes: readonly Prefix[], address: IpAddress): boolean {
  return prefixes.some((one) => contains(one, address));
}
