/** What client and gateway add to the common course, and what they are given for it. */

import type { Instant, IpAddress, Log, Secret, UnixMs } from "../../base/index.ts";
import type { Connections, StreamNews } from "../../connections/index.ts";
import type { DnsFigures } from "../../dns/index.ts";
import type { KeptTable, SysctlWrite } from "../../host/index.ts";
import type { PlaneFlows } from "../../plane/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type {
  ConnectionView,
  ControlEvent,
  ControlMethods,
  DnsStatus,
  PeerStatus,
  PortalLinkStatus,
  ResourceView,
} from "../control/index.ts";
import type { PlaneFeatures, PlaneHost, ShellMachine, UndoStack } from "../shell/index.ts";
import type { AskToken } from "../token-renewal.ts";
import type { Surroundings } from "./surroundings.ts";

/** The machine of one role, as the shell sees it. */
export interface PeerMachine extends ShellMachine {
  handleWallClock(now: Instant, unix: UnixMs): void;
  handleOwnAddresses(now: Instant, addresses: readonly { address: IpAddress; port: number }[]): void;
  handleStream(now: Instant, news: StreamNews): void;
  reset(now: Instant): void;
  /** The process stood still, and the network is the same: all paths are checked (PG-74). */
  checkPaths(now: Instant): void;
  shutdown(now: Instant): void;
  counters(): Readonly<Record<string, number>>;
  dnsFigures(): DnsFigures;
  /** Flows with a record in the plane. */
  flowCount(): number;
}

/** What the machine of a role is made of. */
export interface MachineParts {
  readonly connections: Connections;
  readonly flows: PlaneFlows;
  readonly now: Instant;
  readonly unixNow: UnixMs;
  /** Absent: all are on. */
  readonly features?: Pick<PlaneFeatures, "icmpErrorCreatesFlow">;
  readonly log: Log;
}

/** What a role is, wherever it runs. */
export interface TunnelRole<Machine extends PeerMachine> {
  readonly name: "client" | "gateway";
  /** If the process stood still for less than this, and the network is the same, connections stay (PG-74). */
  readonly keepsForMs: number;
  createMachine(parts: MachineParts): Machine;
  /** Opens the connection to the portal and answers to the machine's events. */
  wire(parts: PeerParts<Machine>): PeerWiring;
  /** What the machine knows of resources, for status (PG-109). */
  resourcesOf(machine: Machine): readonly ResourceView[];
  /** What only this role can be told (PG-108). */
  methodsOf?(machine: Machine, input: PeerParts<Machine>["input"], now: () => Instant): ControlMethods;
  /** How it resolves names, if it does (PG-109). */
  dnsView?(): DnsStatus | undefined;
  /** What a connection is for. */
  purposeOf(machine: Machine, id: string, now: Instant): Pick<ConnectionView, "resources" | "authorizations">;
}

/** What a role adds to the common course of a program on a host. */
export interface PeerRole<Machine extends PeerMachine> extends TunnelRole<Machine> {
  /** Set-up of the host beyond the TUN device; what it changes it puts on the stack. */
  setUpHost(host: PlaneHost, undo: UndoStack, log: Log): RoleOnHost;
}

/**
 * Where a client or gateway on a host is a part of another program (PG-120), which is told what its operator would
 * see: there is no control socket and no command for events.
 */
export interface PeerEmbedding<Machine extends PeerMachine> {
  /** Further trusted roots for the portal, as PEM. */
  readonly ca?: readonly string[] | undefined;
  readonly tell: (event: ControlEvent) => void;
  /** Everything is open; the portal is asked next. */
  readonly onOpen: (facts: PeerFacts<Machine>) => void;
}

export interface PeerFacts<Machine extends PeerMachine> {
  readonly machine: Machine;
  readonly input: PeerParts<Machine>["input"];
  readonly reset: (reason: string) => void;
  readonly status: () => PeerStatus;
}

/** What the role has set on the host, to be kept so (PG-153). */
export interface RoleOnHost {
  readonly parameters: readonly SysctlWrite[];
  readonly tables: readonly KeptTable[];
  /** Whether a chain of ours keeps packets from leaving past the tunnel (PG-154). */
  readonly isGuarded: boolean;
}

export interface PeerParts<Machine> {
  readonly machine: Machine;
  readonly surroundings: Surroundings;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  /** Asked when the portal refuses the token. */
  readonly askToken?: AskToken | undefined;
  readonly login: Login;
  readonly publicKey: () => Uint8Array;
  readonly input: (give: (now: Instant) => void) => void;
  readonly fail: (error: unknown) => void;
  /** Tells those who watch the program (PG-112). */
  readonly tell: (event: ControlEvent) => void;
  readonly log: Log;
}

/** How the portal knows this peer (PT-12). */
export interface Login {
  readonly externalId: string;
  readonly name: string;
}

export interface PeerWiring {
  /** The connection to the portal, as people see it. */
  status(): PortalLinkStatus;
  /** The account's short name, as soon as the portal has told it (PT-63). */
  account(): string | undefined;
  connect(): void;
  /** At once, without back-off: the network is another one (PG-75). */
  reconnect(): void;
  /** Whether the portal is still there, after this process stood still (PT-34). */
  check(): void;
  drainEvents(now: Instant): void;
  close(): Promise<void>;
}
