/** A gateway in this thread: what clients are granted it serves itself, or by the host's own sockets (PG-129). */
import { lookup } from "node:dns/promises";
import { type IpAddress, type Log, parseIp } from "../../base/index.ts";
import type { SetupResult } from "../../dns/index.ts";
import type { StackEvent } from "../../stack/index.ts";
import type { TunnelGateway } from "../../tunnel/index.ts";
import type { ControlMethods } from "../control/index.ts";
import type { ListenForNames } from "../dns/index.ts";
import { gatewayRole } from "../gateway/gateway-role.ts";
import { createInbound, forwardAll, type OnFlow } from "./inbound.ts";
import { createNameDoor, type NameDoor } from "./name-door.ts";
import { openPeer, type UserspaceOptions, type UserspacePeer } from "./peer.ts";
import { openSiteNames } from "./site-names.ts";
import { createSockets } from "./sockets.ts";
import { readUserspaceStatus, type UserspaceStatus } from "./status.ts";

export interface UserspaceGatewayOptions
  extends Omit<UserspaceOptions<TunnelGateway>, "role" | "onStack" | "lookUp"> {
  readonly resolver?: ((name: string, family: 4 | 6) => Promise<readonly string[]>) | undefined;
  readonly onFlow?: OnFlow | undefined;
  readonly isLinkLocalAllowed?: boolean;
  /** A line for each flow that has ended (PG-104). */
  readonly areFlowsLogged?: boolean | undefined;
  readonly maxPartitionMs?: number | undefined;
  readonly ca?: readonly string[] | undefined;
}

export interface UserspaceGateway {
  readonly peer: UserspacePeer<TunnelGateway>;
  status(): UserspaceStatus;
  /** What a gateway can be told over the control socket. */
  readonly methods: ControlMethods;
  close(): Promise<void>;
}

export async function openUserspaceGateway(options: UserspaceGatewayOptions): Promise<UserspaceGateway> {
  const { log, onFlow = forwardAll, maxPartitionMs, caFile, ca } = options;
  const { isLinkLocalAllowed = false, areFlowsLogged = false } = options;
  let door: NameDoor | undefined;
  const listenAt: ListenForNames = (address, onAsked) => {
    if (door === undefined) throw new Error("the portal's word comes when the stack is there");
    return door.listenAt(address, onAsked);
  };
  const role = gatewayRole(
    { maxPartitionTime: maxPartitionMs, caFile, ...(ca && { ca }) },
    {
      ...{ isLinkLocalAllowed, areFlowsLogged, isHostOpen: false },
      // Whose names are the program's own are not the host's (DN-84).
      ...(options.resolver === undefined && {
        openNameService: (parts) => openSiteNames(listenAt, parts, log.scope("dns")),
      }),
    },
  );
  let onStack = (_: StackEvent): void => {};
  const lookUp = lookUpBy(options.resolver ?? askSystem, log);
  const peer = await openPeer({ ...options, role, lookUp, onStack: (event) => onStack(event) });
  const sockets = createSockets(peer.engine);
  const inbound = createInbound({ engine: peer.engine, sockets, onFlow, log: log.scope("flows") });
  const names = createNameDoor(peer.engine, sockets);
  door = names;
  onStack = (event) => void (names.handle(event) || inbound.handle(event) || sockets.handle(event));
  return {
    peer,
    status: () => readUserspaceStatus({ ...{ peer, role, login: options.login }, sockets: sockets.counts() }),
    methods: role.methodsOf?.(peer.tunnel.machine, peer.tunnel.shell.input, peer.engine.now) ?? {},
    async close() {
      inbound.close();
      sockets.close();
      await peer.close();
    },
  };
}

async function askSystem(name: string, family: 4 | 6): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, family });
  return found.map(({ address }) => address);
}

type Resolve = (name: string, family: 4 | 6) => Promise<readonly string[]>;

/** Both families; who knows none of them has no such name, who fails in both knows nothing (DN-88). */
function lookUpBy(resolve: Resolve, log: Log): (name: string) => Promise<SetupResult> {
  return async (name) => {
    const results = await Promise.allSettled(([4, 6] as const).map((family) => resolve(name, family)));
    const addresses = results.flatMap((result) =>
      result.status === "fulfilled" ? result.value.flatMap(toIp) : [],
    );
    if (addresses.length > 0) return { kind: "addresses", addresses };
    const failures = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    if (failures.every(isUnknownName)) return { kind: "none" };
    log.debug?.("name not looked up", { error: failures[0] });
    return { kind: "error" };
  };
}

function toIp(text: string): readonly IpAddress[] {
  const parsed = parseIp(text);
  return parsed.ok ? [parsed.value] : [];
}

function isUnknownName(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && (error.code === "ENOTFOUND" || error.code === "ENODATA")
  );
}
