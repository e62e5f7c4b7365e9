/** One end of the tunnel on its surroundings: connections, machine, control loop and portal wired together. */

import { randomBytes } from "node:crypto";
import { type Log, type Secret, unixMs } from "../../base/index.ts";
import { type ConnectionChange, type Connections, createConnections } from "../../connections/index.ts";
import type { PortalUrl } from "../../portal/protocol/index.ts";
import type { ControlEvent } from "../control/index.ts";
import { createNodeCrypto } from "../crypto-node.ts";
import { createShell, type Shell, type ShellOptions, tellLost } from "../shell/index.ts";
import type { AskToken } from "../token-renewal.ts";
import { VERSION } from "../version.ts";
import { createRelayStreams, type RelayStreams } from "./relay-streams.ts";
import type { Login, MachineParts, PeerMachine, PeerWiring, TunnelRole } from "./role.ts";
import type { Surroundings } from "./surroundings.ts";

/** How long goodbyes may take to leave (TN-37): the machine keeps a closed peer in the plane for 100 ms. */
export const FLUSH_ON_STOP_MS = 150;

export interface TunnelOptions<Machine extends PeerMachine> {
  readonly role: TunnelRole<Machine>;
  readonly surroundings: Surroundings;
  readonly url: PortalUrl;
  readonly token: Secret<string>;
  /** Asked when the portal refuses the token. */
  readonly askToken?: AskToken | undefined;
  readonly login: Login;
  readonly features?: MachineParts["features"];
  /** What no retry mends, and defects of ours. */
  readonly fail: (error: unknown) => void;
  /** Hears what happens (PG-112). */
  readonly tell?: (event: ControlEvent) => void;
  /** Hears what became of connections. */
  readonly onChange?: (change: ConnectionChange) => void;
  /** Hears how long turns of the control loop take. */
  readonly onTurn?: ShellOptions["onTurn"];
  readonly log: Log;
}

export interface Tunnel<Machine extends PeerMachine> {
  readonly connections: Connections;
  readonly machine: Machine;
  readonly shell: Shell;
  /** To the portal; nothing is connected yet. */
  readonly wiring: PeerWiring;
  /** Absent where the surroundings have none. */
  readonly streams: RelayStreams | undefined;
}

export function createTunnel<Machine extends PeerMachine>(options: TunnelOptions<Machine>): Tunnel<Machine> {
  const { role, surroundings, url, token, askToken, login, fail, log } = options;
  const { tell = () => {}, onChange, onTurn, features } = options;
  const { plane, now, send, deliver, pathMtu, isKernelDeaf } = surroundings;
  const clocks = { now: now(), unixNow: unixMs(Date.now()) };
  const connections = createConnections({
    role: role.name,
    records: plane.records,
    ...(pathMtu && { pathMtu }),
    ...(isKernelDeaf && { isKernelDeaf }),
    crypto: createNodeCrypto(),
    seed: randomBytes(32),
    ...clocks,
    software: `postern/${VERSION}`,
    // A stream that anybody can read is no worse than a portal that anybody can read (RL-207).
    ...(surroundings.streams && { streams: url.scheme === "ws" ? "tls-and-tcp" : "tls" }),
    log,
  });
  const machine = role.createMachine({
    ...{ connections, flows: plane.flows, ...clocks, log },
    ...(features && { features }),
  });
  const shell = createShell({
    machine,
    plane,
    now,
    tellWallClock: (at) => machine.handleWallClock(at, unixMs(Date.now())),
    send,
    onLost: tellLost(log),
    writeTun: deliver,
    drainEvents(at) {
      for (let wish = connections.pollStream(); wish !== undefined; wish = connections.pollStream()) {
        streams?.take(wish);
      }
      wiring.drainEvents(at);
      for (let change = connections.pollChange(); change !== undefined; change = connections.pollChange()) {
        onChange?.(change);
      }
      const { pollRelayChange } = connections;
      for (let change = pollRelayChange(); change !== undefined; change = pollRelayChange()) {
        tell({ event: "relay", data: change });
      }
    },
    ...(onTurn && { onTurn }),
    onDefect: fail,
  });
  const streams =
    surroundings.streams &&
    createRelayStreams({
      surroundings: surroundings.streams,
      now,
      tell: (news) => shell.input((at) => machine.handleStream(at, news)),
      log: log.scope("connections"),
    });
  const wiring = role.wire({
    machine,
    surroundings,
    url,
    ...{ token, askToken },
    login,
    publicKey: () => connections.publicKey(),
    input: shell.input,
    fail,
    tell,
    log,
  });
  return { connections, machine, shell, wiring, streams };
}
