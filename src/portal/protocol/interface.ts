/**
 * The tunnel interface and the relays as the portal's messages carry them (PT §4).
 */
import * as v from "valibot";
import { formatSocketAddress, type IpAddress, type SocketAddress, type UnixMs } from "../../base/index.ts";
import {
  ipAddress,
  ipv4Address,
  ipv6Address,
  parseList,
  readAs,
  socketAddress,
  type Tally,
  time,
  toWireIp,
  toWireTime,
  uuid,
} from "./scalar.ts";

/** The tunnel addresses of a peer. */
export interface TunnelAddresses {
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
}

/** The client's interface: addresses, and what its resolver shall do. */
export interface ClientInterface extends TunnelAddresses {
  readonly searchDomain?: string;
  /** Resolvers asked with classic DNS; empty: those of the system, unless `upstreamDoh` has some. */
  readonly upstreamDo53: readonly IpAddress[];
  readonly upstreamDoh: readonly string[];
}

/** A TURN server. A relay with both families comes as two entries of the same `id`. */
export interface RelayEntry {
  readonly id: string;
  readonly address: SocketAddress;
  readonly username: string;
  readonly password: string;
  readonly expiresAt: UnixMs;
  /** Where it also takes TURN over TLS, with a certificate for `name` (RL-207). */
  readonly tls?: { readonly address: SocketAddress; readonly name: string };
  /** The same without TLS, for tests. */
  readonly tcp?: { readonly address: SocketAddress };
}

export const tunnelAddresses = v.object({ ipv4: ipv4Address, ipv6: ipv6Address });

const list = v.array(v.unknown());

const wireInterface = v.object({
  ipv4: ipv4Address,
  ipv6: ipv6Address,
  search_domain: v.nullish(v.string()),
  upstream_do53: v.nullish(list),
  upstream_doh: v.nullish(list),
  upstream_dns: v.nullish(list),
});

const do53 = v.object({ ip: ipAddress });
const doh = v.object({ url: v.string() });
const legacyDns = v.object({ protocol: v.literal("ip_port"), address: socketAddress });

const turnRelay = v.object({
  type: v.literal("turn"),
  id: uuid,
  addr: socketAddress,
  username: v.string(),
  password: v.string(),
  expires_at: time,
  tls: v.nullish(v.object({ addr: socketAddress, name: v.pipe(v.string(), v.minLength(1)) })),
  tcp: v.nullish(v.object({ addr: socketAddress })),
});

const typed = v.object({ type: v.string() });

export function parseClientInterface(input: unknown, tally: Tally): ClientInterface | undefined {
  const wire = readAs(wireInterface, input);
  if (wire === undefined) return undefined;
  const modern = parseList(wire.upstream_do53 ?? [], (item) => readAs(do53, item)?.ip, tally);
  const legacy = parseList(
    wire.upstream_dns ?? [],
    (item) => readAs(legacyDns, item)?.address.address,
    tally,
  );
  return {
    ipv4: wire.ipv4,
    ipv6: wire.ipv6,
    ...(wire.search_domain == null ? {} : { searchDomain: wire.search_domain }),
    upstreamDo53: modern.length > 0 ? modern : legacy,
    upstreamDoh: parseList(wire.upstream_doh ?? [], (item) => readAs(doh, item)?.url, tally),
  };
}

/** Do53 or DoH, never both, plus the legacy list of what Do53 says. */
export function toWireClientInterface(of: ClientInterface): object {
  return {
    ipv4: toWireIp(of.ipv4),
    ipv6: toWireIp(of.ipv6),
    upstream_do53: of.upstreamDo53.map((address) => ({ ip: toWireIp(address) })),
    upstream_doh: of.upstreamDo53.length > 0 ? [] : of.upstreamDoh.map((url) => ({ url })),
    upstream_dns: of.upstreamDo53.map((address) => ({
      protocol: "ip_port",
      address: formatSocketAddress({ address, port: 53 }),
    })),
    search_domain: of.searchDomain ?? null,
  };
}

/** STUN servers and types to come are ignored; what is left and faulty is counted. */
export function parseRelays(items: readonly unknown[], tally: Tally): readonly RelayEntry[] {
  return parseList(items, parseRelay, tally);
}

function parseRelay(item: unknown): RelayEntry | "ignored" | undefined {
  const type = readAs(typed, item)?.type;
  if (type === undefined) return undefined;
  if (type !== "turn") return "ignored";
  const wire = readAs(turnRelay, item);
  if (wire === undefined) return undefined;
  const { id, addr, username, password, expires_at, tls, tcp } = wire;
  return {
    id,
    address: addr,
    username,
    password,
    expiresAt: expires_at,
    ...(tls == null ? {} : { tls: { address: tls.addr, name: tls.name } }),
    ...(tcp == null ? {} : { tcp: { address: tcp.addr } }),
  };
}

export function toWireRelay(relay: RelayEntry): object {
  return {
    id: relay.id,
    type: "turn",
    addr: formatSocketAddress(relay.address),
    username: relay.username,
    password: relay.password,
    expires_at: toWireTime(relay.expiresAt),
    ...(relay.tls && { tls: { addr: formatSocketAddress(relay.tls.address), name: relay.tls.name } }),
    ...(relay.tcp && { tcp: { addr: formatSocketAddress(relay.tcp.address) } }),
  };
}
