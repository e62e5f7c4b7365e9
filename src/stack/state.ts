/** What the parts of the stack share. */
import {
  equalIp,
  type Instant,
  type IpAddress,
  type Queue,
  randomBelow,
  type SocketAddress,
} from "../base/index.ts";
import { encodeRefusal, type Refusal } from "../packet/index.ts";
import type { TcpHost } from "../tcp/index.ts";
import type { StackCounter, StackEvent, StackOptions, Unreached } from "./face.ts";
import type { Reassembly } from "./reassembly.ts";

/** Ports that the system gives out (RFC 6056, as Linux has them). */
const PORT_FIRST = 32_768;
const PORT_COUNT = 28_232;
const PORT_TRIES = 64;

/** A connection that somebody wants of a router. */
export interface Asked {
  readonly asked: number;
  readonly key: string;
  /** The SYN with its header, which is handled again when the answer is there. */
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly until: Instant;
  answer: "accept" | "refuse" | undefined;
}

export interface StackState extends StackOptions {
  readonly tcp: TcpHost;
  addresses: readonly IpAddress[];
  /** Our connections, and those of a router's clients, until they are closed: why, if ICMP has said it. */
  readonly connections: Map<number, Unreached | undefined>;
  /** In order of their ends. */
  readonly asked: Map<number, Asked>;
  readonly askedByKey: Map<string, Asked>;
  nextAsked: number;
  /** What the TCP host is just given. */
  incoming: { readonly now: Instant; readonly frame: Uint8Array } | undefined;
  /** Of ours, where connections are taken without being asked about. */
  readonly tcpPorts: Set<number>;
  readonly udpPorts: Set<number>;
  readonly pings: Map<number, IpAddress>;
  readonly packets: Queue<Uint8Array<ArrayBuffer>>;
  readonly events: Queue<StackEvent>;
  readonly reassembly: Reassembly;
  /** Of the next datagram in fragments; no two that are under way have the same. */
  nextIdentification: number;
  readonly counters: Record<Exclude<StackCounter, "stack_drop_fragment">, number>;
}

export function isOwn({ addresses }: StackState, address: IpAddress): boolean {
  return addresses.some((own) => equalIp(own, address));
}

export function ownAddress({ addresses }: StackState, family: 4 | 6): IpAddress | undefined {
  return addresses.find(({ length }) => length === (family === 4 ? 4 : 16));
}

export function keyOf(local: SocketAddress, remote: SocketAddress): string {
  return `${local.address.join(".")} ${local.port} ${remote.address.join(".")} ${remote.port}`;
}

/** A random one that nobody has (RFC 6056 §3.3.1). */
export function freePort({ random }: StackState, isUsed: (port: number) => boolean): number | undefined {
  for (let i = 0; i < PORT_TRIES; i++) {
    const port = PORT_FIRST + randomBelow(random, PORT_COUNT);
    if (!isUsed(port)) return port;
  }
  return undefined;
}

export function refuse({ packets }: StackState, packet: Uint8Array, refusal: Refusal): void {
  const error = encodeRefusal(packet, refusal);
  if (error !== undefined) packets.push(error);
}
