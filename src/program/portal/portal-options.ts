/** What the portal's options mean (PG-6, PT-110, PT-111). */
import {
  formatSocketAddress,
  PosternError,
  type Prefix,
  parsePrefix,
  parseSocketAddress,
  type SocketAddress,
} from "../../base/index.ts";
import type { PeerLimits } from "../../portal/server/index.ts";
import type { PortalOptions } from "../options.ts";
import type { TlsPaths } from "../tls-files.ts";

const DEFAULT_LISTEN = "127.0.0.1:8080";
/** Peers that one token may make the portal remember (PT-77). */
const USER_DEVICES = 10;
const SERVICE_DEVICES = 1_000;
const GATEWAYS = 1_000;

export function listenAddress({ listen, dev, devInsecure, config }: PortalOptions): SocketAddress {
  if (!dev && config === undefined) throw usage("portal needs --config FILE, --dev, or both");
  const address = parseSocketAddress(listen ?? DEFAULT_LISTEN);
  if (!address.ok)
    throw usage(`--listen ${listen} is not ADDR:PORT`, "for example 127.0.0.1:8080 or [::1]:8080");
  if (dev && !devInsecure && !isLoopback(address.value)) {
    throw usage(
      `--dev listens on loopback only, not on ${formatSocketAddress(address.value)}`,
      "its tokens are shown to everyone who reads the output; add --dev-insecure where that is meant",
    );
  }
  return address.value;
}

/**
 * Certificate and key, or none where nobody can listen on the way: on loopback, behind a proxy that ends
 * TLS (PT-73), or where the operator says so.
 */
export function tlsPaths(options: PortalOptions, address: SocketAddress): TlsPaths | undefined {
  const { tlsCert, tlsKey, devInsecure } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw usage("--tls-cert and --tls-key go together");
  }
  if (tlsCert !== undefined && tlsKey !== undefined) return { certPath: tlsCert, keyPath: tlsKey };
  if (isLoopback(address) || devInsecure || trustedProxies(options).length > 0) return undefined;
  throw usage(
    `listening on ${formatSocketAddress(address)} without TLS lets tokens be read on the way`,
    "give --tls-cert and --tls-key, or --trusted-proxy CIDR for a proxy that ends TLS; --dev-insecure where neither is wanted",
  );
}

export function trustedProxies({ trustedProxy = [] }: PortalOptions): readonly Prefix[] {
  return trustedProxy.map((text) => {
    const prefix = parsePrefix(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`);
    if (!prefix.ok) throw usage(`--trusted-proxy ${text} is no network`, "for example 192.0.2.0/24");
    return prefix.value;
  });
}

/** Under `--dev` there are no limits unless they are given; 0 is none (PT-77). */
export function limitsOf({ dev, userDevices, serviceDevices, gateways }: PortalOptions): PeerLimits {
  const limit = <K extends keyof PeerLimits>(name: K, given: number | undefined, usual: number) => {
    const count = given ?? (dev ? 0 : usual);
    return count === 0 ? {} : { [name]: count };
  };
  return {
    ...limit("userDevices", userDevices, USER_DEVICES),
    ...limit("serviceDevices", serviceDevices, SERVICE_DEVICES),
    ...limit("gateways", gateways, GATEWAYS),
  };
}

function isLoopback({ address }: SocketAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

export function usage(message: string, hint?: string): PosternError {
  return new PosternError("usage", message, hint);
}
