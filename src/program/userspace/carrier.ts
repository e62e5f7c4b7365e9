/**
 * What carries packets between the stack and the network, in two grades (PG-122): `fast`, our own sockets and the
 * plane's workers by FFI, or `plain`, the runtime's sockets and the plane in this thread.
 */
import type { CipherChoice } from "../../../bindings/cipher/index.ts";
import type { PlaneCounters, PlaneMode } from "../../../bindings/plane/index.ts";
import type { Instant, IpAddress, Log, SocketAddress } from "../../base/index.ts";
import type { Surroundings } from "../endpoint/surroundings.ts";
import type { ShellTransmit } from "../shell/index.ts";

/** MTU of the tunnel (PG, `TUN_MTU`). */
export const TUNNEL_MTU = 1280;

export type SocketGrade = "fast" | "plain";
/** `auto`: the fastest that works here. */
export type SocketChoice = "auto" | SocketGrade;

export interface CarrierOptions {
  readonly mode: Exclude<PlaneMode, "plain">;
  readonly addresses: readonly IpAddress[];
  readonly port: number;
  readonly cipher: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** There is something to `receive`, or room for what `transmit` had none for. */
  readonly wake: () => void;
  /** The sockets do not work any more; to be bound again. */
  readonly socketFailed: () => void;
  readonly onDefect: (error: unknown) => void;
  readonly log: Log;
}

export interface Carrier extends Pick<Surroundings, "pathMtu"> {
  readonly grade: SocketGrade;
  readonly choice: CipherChoice;
  readonly plane: Omit<Surroundings["plane"], "onWake"> & { hasInput(): boolean };
  counters(): PlaneCounters;
  /** As the plane sees it. */
  now(): Instant;
  /** Our addresses, each with the port of its socket. */
  own(): readonly SocketAddress[];
  /** More of what has come is about to be there: whoever asks comes again soon. Not for long. */
  gathers?(): boolean;
  /** Lends what has come, as the plane writes it to a TUN device, for each call. Returns whether there is more. */
  receive(take: (frame: Uint8Array) => void): boolean;
  /** Takes frames as long as `poll` writes some, whose length it returns, and there is room for them. */
  transmit(poll: (into: Uint8Array) => number): "all" | "full";
  /** Whether what was taken has been sealed. */
  isDrained(): boolean;
  /** One datagram of control. */
  send(transmit: ShellTransmit): "done" | "busy";
  /** New sockets, for these addresses; the port stays if it can. */
  rebind(addresses: readonly IpAddress[]): Promise<void>;
  close(): Promise<void>;
}
