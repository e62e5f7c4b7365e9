/** What the parts of the relay's machine share: its options, its tables, its queues and its books. */
import {
  createDeadlineQueue,
  createQueue,
  type DeadlineQueue,
  type Instant,
  type IpAddress,
  type Log,
  type Queue,
  type QueueEntry,
  type Random,
  type SocketAddress,
} from "../base/index.ts";
import type { IpFamily, RelayBinding, RelayCommand } from "../plane/index.ts";
import type { RelayUsername, TurnMessage } from "../turn/index.ts";
import { createNonces, type Nonces } from "./nonce.ts";
import { createPeerPolicy, type PeerPolicy } from "./peer-policy.ts";
import { createRateLimits, type RateLimit, type RateLimits } from "./rate-limit.ts";
import type { RelayDrop, RelayTransmit, TurnServerOptions } from "./server-face.ts";

/** An allocation port with its owner (RL §1). */
export interface Allocation extends QueueEntry {
  readonly kind: "allocation";
  readonly client: SocketAddress;
  readonly port: number;
  /** Until when the port of each family is the client's. `dueAt` is the earliest of them. */
  readonly expiry: Map<IpFamily, Instant>;
  /** Of the request that made it: the same once more is a retransmission (RL-17). */
  readonly made: { readonly transactionId: string; readonly salt: string };
  /** Asked for and not served (RL-19). */
  readonly missing: IpFamily | undefined;
  /** In hexadecimal; of the pair's other port (RL-21). */
  readonly reservationToken: string | undefined;
  readonly requests: RateLimit;
  readonly byChannel: Map<number, ChannelBinding>;
  readonly byPeer: Map<string, ChannelBinding>;
  /** The salt of whom it counts for (RL-17, RL-25). */
  owner: string;
  /** The nonce of the latest request, and how often it was used (RL-11). */
  nonce: { readonly text: string; readonly uses: number };
}

/** A client's channel and a peer that belong together (RL-28). `dueAt`: when `stage` ends. */
export interface ChannelBinding extends QueueEntry {
  readonly kind: "binding";
  readonly allocation: Allocation;
  record: RelayBinding;
  stage: "bound" | "cooling";
}

/** The odd port of a pair, kept until somebody shows its token (RL-21). */
export interface Reservation extends QueueEntry {
  readonly kind: "reservation";
  readonly token: string;
  readonly port: number;
  readonly salt: string;
  readonly holder: string;
}

export type Timer = Allocation | ChannelBinding | Reservation;

/** A request of a client, whose credentials are right. */
export interface AuthenticatedRequest extends ControlRequest {
  readonly user: RelayUsername;
  readonly nonce: string;
  readonly key: Uint8Array;
  /** What the client has at that moment. */
  readonly allocation: Allocation | undefined;
}

export interface ControlRequest {
  readonly message: TurnMessage;
  readonly client: SocketAddress;
  /** The address of ours at which it arrived. */
  readonly local: IpAddress | undefined;
  /** That of the sender, once known: answers are signed with it. */
  readonly key?: Uint8Array;
}

/** An Allocate that waits for its sockets (RL-20). */
export interface PendingAllocation {
  readonly token: number;
  readonly request: AuthenticatedRequest;
  readonly families: readonly IpFamily[];
  readonly missing: IpFamily | undefined;
  readonly choice: PortChoice;
  /** Ports that were in use by somebody else. */
  readonly tried: readonly number[];
  readonly port: number;
  /** Its client has gone (RL-202). */
  readonly isAbandoned: boolean;
}

export type PortChoice =
  | { readonly kind: "any" | "even" | "even-with-next" }
  /** The one that a reservation kept. */
  | { readonly kind: "reserved"; readonly port: number };

export interface ServerState {
  readonly options: TurnServerOptions;
  readonly families: readonly IpFamily[];
  readonly random: Random;
  readonly log: Log;
  readonly nonces: Nonces;
  readonly policy: PeerPolicy;
  readonly rates: RateLimits;
  /** By client address. */
  readonly allocations: Map<string, Allocation>;
  /** By salt; the oldest first. */
  readonly byOwner: Map<string, Set<Allocation>>;
  readonly pending: Map<string, PendingAllocation>;
  /** By token, and the token by whoever holds it. */
  readonly reservations: Map<string, Reservation>;
  readonly reservationOf: Map<string, Reservation>;
  /** Ports of allocations, pending ones, and reservations. */
  readonly usedPorts: Set<number>;
  readonly timers: DeadlineQueue<Timer>;
  readonly commands: Queue<RelayCommand>;
  readonly transmits: Queue<RelayTransmit>;
  readonly drops: Map<RelayDrop, number>;
  /** By method and `success` or code. */
  readonly responses: Map<string, number>;
  readonly complaints: { warnedAt: Instant | undefined; debuggedAt: Instant | undefined };
  bound: number;
  cooling: number;
  nextToken: number;
  isDraining: boolean;
  /** Unix milliseconds of instant 0, as the system's clock has it now. */
  unixEpoch: number;
}

export function createState(options: TurnServerOptions): ServerState {
  const { publicIp4, publicIp6, ports, policy, random } = options;
  const families: IpFamily[] = [...(publicIp4 ? [4 as const] : []), ...(publicIp6 ? [6 as const] : [])];
  const publicAddresses = [publicIp4, publicIp6].filter((address) => address !== undefined);
  return {
    options,
    families,
    random,
    log: options.log.scope("relay"),
    nonces: createNonces(random),
    policy: createPeerPolicy({ ...policy, publicAddresses, ports }),
    rates: createRateLimits(random),
    allocations: new Map(),
    byOwner: new Map(),
    pending: new Map(),
    reservations: new Map(),
    reservationOf: new Map(),
    usedPorts: new Set(),
    timers: createDeadlineQueue(),
    commands: createQueue(),
    transmits: createQueue(),
    drops: new Map(),
    responses: new Map(),
    complaints: { warnedAt: undefined, debuggedAt: undefined },
    bound: 0,
    cooling: 0,
    nextToken: 1,
    isDraining: false,
    unixEpoch: options.unixMs - options.now,
  };
}

export function familyOf(address: IpAddress): IpFamily {
  return address.length === 4 ? 4 : 6;
}

export function unixSecondsOf({ unixEpoch }: ServerState, now: Instant): number {
  return Math.floor((now + unixEpoch) / 1000);
}

export function countDrop({ drops }: ServerState, reason: RelayDrop): void {
  drops.set(reason, (drops.get(reason) ?? 0) + 1);
}
