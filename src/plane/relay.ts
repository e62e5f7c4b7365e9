/**
 * What the relay's control tells its data path, and reads of it (RL-48 to RL-56). The machine in `src/relay`
 * knows only these types; `bindings/relay` carries the commands out on shared memory.
 */
import type { Instant, IpAddress, SocketAddress } from "../base/index.ts";

export type IpFamily = 4 | 6;

/** A channel binding: datagrams of one client's channel and of one peer belong together. */
export interface RelayBinding {
  /** The client, as the relay sees it. */
  readonly client: SocketAddress;
  /** The address of ours that the client asked: what comes from the peer leaves from it (RL-50). */
  readonly local?: IpAddress;
  readonly channel: number;
  /** The client's allocation port. */
  readonly port: number;
  readonly peer: SocketAddress;
  /** The peer is one of our own allocation ports: the data stays inside (RL-45). */
  readonly isHairpin: boolean;
}

/** Carried out in order. What is published is in place when the command has been carried out (RL-30). */
export type RelayCommand =
  /** Binds one socket per family, all or none. The answer goes to the machine by its token (RL-20). */
  | {
      readonly kind: "bind-port";
      readonly token: number;
      readonly port: number;
      readonly families: readonly IpFamily[];
    }
  /** Closes the sockets of these families. Bindings of that port and family are gone by then (RL-54). */
  | { readonly kind: "free-port"; readonly port: number; readonly families: readonly IpFamily[] }
  | { readonly kind: "add-binding"; readonly binding: RelayBinding }
  | { readonly kind: "remove-binding"; readonly binding: RelayBinding };

/** How binding the sockets of a port ended. */
export type PortResult = "ok" | "in-use" | "error";

/** What went through in one direction. */
export interface RelayFlow {
  readonly packets: number;
  readonly bytes: number;
}

/** What the data path has counted since its start (RL-56). */
export interface RelayUsage {
  readonly toPeer: RelayFlow;
  readonly toClient: RelayFlow;
}

/** The same of one binding, with the time of its last use; `undefined`: never. */
export interface BindingUsage extends RelayUsage {
  readonly lastUsed: Instant | undefined;
}

/** The relay's data path, as its program drives it: the plane in production, a plain object in simulations. */
export interface RelayPlane {
  openPort(port: number, families: readonly IpFamily[]): PortResult;
  closePort(port: number, families: readonly IpFamily[]): void;
  publishBinding(binding: RelayBinding): void;
  removeBinding(binding: RelayBinding): void;
  usage(): RelayUsage;
  bindingUsage(binding: RelayBinding): BindingUsage | undefined;
}
