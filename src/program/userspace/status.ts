/** What an instance without a host shows of itself: as `status` of the programs does (PG-109), without a device. */
import { formatIp, formatSocketAddress } from "../../base/index.ts";
import type { ConnectionView, PeerStatus } from "../control/index.ts";
import { NO_STREAMS } from "../endpoint/relay-streams.ts";
import type { Login, PeerMachine, TunnelRole } from "../endpoint/role.ts";
import { connectionView, nonZero, ofWorker, planeStatus, prefixed, relayView } from "../endpoint/status.ts";
import { failedViews } from "../endpoint/why.ts";
import { VERSION } from "../version.ts";
import type { SocketGrade } from "./carrier.ts";
import type { UserspacePeer } from "./peer.ts";

export interface UserspaceStatus
  extends Pick<
    PeerStatus,
    | "version"
    | "role"
    | "id"
    | "name"
    | "account"
    | "portal"
    | "cipher"
    | "relays"
    | "resources"
    | "connections"
  > {
  readonly mode: "userspace";
  readonly ready: boolean;
  /** In the tunnel. */
  readonly addresses: readonly string[];
  readonly sockets: {
    /** The runtime's sockets, or our own by FFI (PG-122). */
    readonly grade: SocketGrade;
    /** Why it is not `fast`. */
    readonly reason?: string;
    /** Where datagrams leave and come. */
    readonly own: readonly string[];
    readonly tcp: number;
    readonly udp: number;
  };
  readonly counters: PeerStatus["counters"];
  readonly plane: PeerStatus["plane"];
}

export interface UserspaceStatusParts<Machine extends PeerMachine> {
  readonly peer: UserspacePeer<Machine>;
  readonly role: TunnelRole<Machine>;
  readonly login: Login;
  readonly sockets: { readonly tcp: number; readonly udp: number };
}

export function readUserspaceStatus<Machine extends PeerMachine>(
  parts: UserspaceStatusParts<Machine>,
): UserspaceStatus {
  const { peer, role, login } = parts;
  const { engine, tunnel } = peer;
  const plane = engine.counters();
  const stats = tunnel.connections.stats();
  return {
    version: VERSION,
    role: role.name,
    mode: "userspace",
    ready: peer.isReady(),
    id: login.externalId,
    name: login.name,
    account: tunnel.wiring.account() ?? null,
    portal: tunnel.wiring.status(),
    cipher: engine.choice.name,
    addresses: peer.addresses().map(formatIp),
    sockets: {
      grade: engine.grade,
      ...(engine.gradeReason !== undefined && { reason: engine.gradeReason }),
      own: engine.own().map(formatSocketAddress),
      ...parts.sockets,
    },
    relays: stats.relays.map((relay) => relayView(relay, NO_STREAMS)),
    resources: role.resourcesOf(tunnel.machine),
    connections: connectionViews(parts),
    plane: planeStatus(plane),
    counters: {
      egress: nonZero(ofWorker(plane.egress)),
      ingress: nonZero(ofWorker(plane.ingress)),
      control: nonZero({
        ...prefixed("failed_", stats.failures),
        ...stats.counters,
        ...tunnel.machine.counters(),
        ...engine.withStack((stack) => stack.counters()),
        inject_full: plane.injectFull,
      }),
    },
  };
}

function connectionViews<Machine extends PeerMachine>({
  peer,
  role,
}: UserspaceStatusParts<Machine>): readonly ConnectionView[] {
  const { connections, machine } = peer.tunnel;
  const explanations = connections.explanations();
  const now = peer.engine.now();
  return [
    ...connections
      .stats()
      .connections.map((one) =>
        connectionView(
          { role: role.name, now, purposeOf: (id, at) => role.purposeOf(machine, id, at) },
          one,
          explanations,
        ),
      ),
    ...failedViews({ explanations, role: role.name, now }),
  ];
}
