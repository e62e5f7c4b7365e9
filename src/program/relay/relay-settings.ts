/** What the relay's options mean (PG-6, RL-63 to RL-65). */

import {
  type IpAddress,
  ip,
  PosternError,
  type Prefix,
  parseIp,
  parsePrefix,
  type SocketAddress,
} from "../../base/index.ts";
import type { IpFamily } from "../../plane/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type { RelayLimits, TurnServerOptions } from "../../relay/index.ts";
import type { RelayOptions } from "../options.ts";
import type { TokenAccess } from "../stored-token.ts";
import { readStreamSettings, type StreamSettings } from "./stream-settings.ts";

const BINDINGS_MAX = 65_536;
/** A gateway binds a few for each client (RL-60). */
const BINDINGS_PER_ALLOCATION = 4096;
/** Descriptors besides those of the allocations (RL-65). */
const OTHER_DESCRIPTORS = 256;
const REALM_CHARS_MAX = 127;
const LOOPBACK_V4 = ip("127.0.0.1");

export interface RelaySettings
  extends Pick<
    TurnServerOptions,
    "publicIp4" | "publicIp6" | "listenPort" | "ports" | "realm" | "policy" | "limits"
  > {
  /** Local addresses by family; one is there for each public address, and for IPv4 if there are streams. */
  readonly bind: Readonly<Partial<Record<IpFamily, IpAddress>>>;
  readonly streams: StreamSettings;
}

/** Where the relay registers itself. */
export interface PortalAccess extends TokenAccess {
  readonly url: PortalUrl;
  readonly name: string;
}

/** @throws PosternError `usage` */
export function readSettings(options: RelayOptions): RelaySettings {
  const publicIp4 = readAddress("--public-ip4", options.publicIp4, 4);
  const publicIp6 = readAddress("--public-ip6", options.publicIp6, 6);
  if (publicIp4 === undefined && publicIp6 === undefined) {
    throw usage("the relay needs --public-ip4, --public-ip6, or both", "they are what clients and peers see");
  }
  const bindIp4 = readAddress("--bind-ip4", options.bindIp4, 4) ?? new Uint8Array(4);
  const bindIp6 = readAddress("--bind-ip6", options.bindIp6, 6) ?? new Uint8Array(16);
  if (options.lowestPort > options.highestPort) {
    throw usage(`--lowest-port ${options.lowestPort} is above --highest-port ${options.highestPort}`);
  }
  const streams = readStreamSettings(options);
  const hasStreams = Object.keys(streams).length > 0;
  // Streams come in by loopback (RL-206), also where IPv4 is not served.
  const listenIp4 = publicIp4 === undefined ? LOOPBACK_V4 : bindIp4;
  return {
    ...(publicIp4 && { publicIp4 }),
    ...(publicIp6 && { publicIp6 }),
    bind: { ...((publicIp4 || hasStreams) && { 4: listenIp4 }), ...(publicIp6 && { 6: bindIp6 }) },
    listenPort: options.turnPort,
    ports: { lowest: options.lowestPort, highest: options.highestPort },
    realm: readRealm(options.realm),
    policy: {
      privatePeers: options.privatePeers,
      deniedPeers: options.deniedPeers.flatMap((text) => text.split(",")).map(readPrefix),
      allowLoopbackPeers: options.allowLoopbackPeers,
    },
    limits: limitsOf(options),
    streams,
  };
}

function limitsOf({ maxAllocations, allocationsPerUser }: RelayOptions): RelayLimits {
  return {
    allocationsMax: maxAllocations,
    allocationsPerUser,
    bindingsMax: BINDINGS_MAX,
    bindingsPerAllocation: BINDINGS_PER_ALLOCATION,
  };
}

/** Where the relay's own UDP socket is reached by loopback. */
export function loopbackAddress({ bind, listenPort }: RelaySettings): SocketAddress {
  const address = bind[4] ?? LOOPBACK_V4;
  return { address: address.every((byte) => byte === 0) ? LOOPBACK_V4 : address, port: listenPort };
}

/** How many allocations fit under a limit of open files, each with a socket of every family (RL-65). */
export function fitLimit(allocationsMax: number, openFiles: number, families: 1 | 2): number {
  return Math.min(allocationsMax, Math.max(0, Math.floor((openFiles - OTHER_DESCRIPTORS) / families)));
}

function readAddress(option: string, text: string | undefined, family: IpFamily): IpAddress | undefined {
  if (text === undefined) return undefined;
  const address = parseIp(text);
  if (address.ok && address.value.length === (family === 4 ? 4 : 16)) return address.value;
  throw usage(`${option} ${text} is no IPv${family} address`);
}

function readPrefix(text: string): Prefix {
  const prefix = parsePrefix(text.trim());
  if (prefix.ok) return prefix.value;
  throw usage(`--denied-peers ${text} is no network`, "for example 10.0.0.0/8,2001:db8::/32");
}

/** It is sent to strangers and compared byte by byte. */
function readRealm(text: string): string {
  if (/^[\x20-\x7e]+$/.test(text) && text.length <= REALM_CHARS_MAX) return text;
  throw usage(`--realm is not 1 to ${REALM_CHARS_MAX} printable ASCII characters`);
}

export function usage(message: string, hint?: string): PosternError {
  return new PosternError("usage", message, hint);
}
