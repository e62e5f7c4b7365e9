/**
 * What a client or gateway needs of the world around it. `hostSurroundings` has it on a Linux host with a
 * TUN device and workers; an embedding without a TUN device gives its own.
 */
import type { Instant, IpAddress, Log } from "../../base/index.ts";
import type { PathWay } from "../../connections/index.ts";
import type { SetupResult } from "../../dns/index.ts";
import { createNameLookup, createNameResolver, FWMARK } from "../../host/index.ts";
import type { PlaneFlows, PlaneRecords } from "../../plane/index.ts";
import type { PeerChange, TunnelInterface } from "../../tunnel/index.ts";
import { markedTcp, type OpenTcp } from "../portal-socket.ts";
import { type Environment, reachTarget, type Target } from "../proxy/index.ts";
import type { PlaneHost, ShellPlane, ShellTransmit } from "../shell/index.ts";
import type { StreamSurroundings } from "./relay-streams.ts";

export interface Surroundings {
  /** The packet plane, with its workers or in process. */
  readonly plane: ShellPlane & { readonly records: PlaneRecords; readonly flows: PlaneFlows };
  readonly now: () => Instant;
  /** Sends one datagram of control without blocking; `busy`: it may be sent again later (PG-46). */
  readonly send: (transmit: ShellTransmit) => "done" | "busy";
  /** What the kernel knows of the path's MTU, in bytes; absent: nobody is asked (SN-150). */
  readonly pathMtu?: (way: PathWay) => number | undefined;
  /** The kernel takes no ICMP error from the TUN device (SN-152); so without `pathMtu`, too. */
  readonly isKernelDeaf?: boolean;
  /** Takes a packet for this end itself, such as a local refusal (TN-89). */
  readonly deliver: (packet: Uint8Array) => void;
  /** Opens a connection to the portal, past the tunnel (PG-64). */
  readonly openTcp: OpenTcp;
  /** Addresses of the portal's name, asked past the tunnel; absent: the system's resolvers. */
  readonly resolve?: (host: string) => Promise<readonly IpAddress[]>;
  /** What a gateway finds for its clients' names (DN-88); absent: nothing. */
  readonly lookUp?: (name: string) => Promise<SetupResult>;
  /** For TURN over streams; absent: relays are reached by UDP only. */
  readonly streams?: StreamSurroundings;
  /** Brings addresses and routes to what the tunnel wants; the first time is readiness (PG-82). */
  readonly applyInterface: (wanted: TunnelInterface) => void;
  /** Peers' tunnel addresses have come or gone (TN-16). */
  readonly changePeers: (change: PeerChange) => void;
}

export interface HostSurroundings {
  readonly host: PlaneHost;
  readonly applyInterface: Surroundings["applyInterface"];
  readonly changePeers: Surroundings["changePeers"];
  /** Where the portal is, which may lie behind a proxy that `env` names (RL-211). */
  readonly portal: Target;
  readonly env: Environment;
  readonly caFile: string | undefined;
  /** `--egress-interface`. */
  readonly device: string | undefined;
  readonly log: Log;
}

/** @throws PosternError `usage` when the environment's proxy cannot be read */
export function hostSurroundings(options: HostSurroundings): Surroundings {
  const { host, applyInterface, changePeers, portal, env, caFile, device, log } = options;
  const openTcp = markedTcp(host.kernel, FWMARK, device);
  const resolution = { kernel: host.kernel, mark: FWMARK, device, log };
  const resolve = createNameResolver(resolution);
  return {
    plane: host.plane,
    now: host.now,
    send: host.send,
    pathMtu: host.pathMtu,
    isKernelDeaf: device !== undefined,
    deliver: host.writeTun,
    ...reachTarget({
      target: portal,
      env,
      openTcp,
      resolve,
      caFile,
      log: log.scope("portal"),
    }),
    lookUp: createNameLookup(resolution),
    streams: { udpPort: () => host.sockets().v4?.port, openTcp, resolve, env, caFile },
    applyInterface,
    changePeers,
  };
}
