/** What can be asked of a running interface: the status socket's requests, binding again, a snapshot. */
import { errnoName, errnoOf, setMark } from "../../../bindings/linux/index.ts";
import { formatPrefix, formatSocketAddress, type Log, toBase64 } from "../../base/index.ts";
import {
  formatErrno,
  formatStatus,
  parseSet,
  UAPI_ERRNO,
  type UapiRequest,
  type WgInterface,
  type WgPeerStatus,
  type WgSet,
} from "../../wg/index.ts";
import type { PlaneHost, Shell } from "../shell/index.ts";

export interface WgControl {
  /** The answer to a request of the status socket (WG-66). Requests wait for each other. */
  answer(request: Exclude<UapiRequest, { kind: "refused" }>): Promise<string>;
  /** Binds the sockets again, to the same port (WG-69). */
  rebind(): Promise<void>;
  /** One line of JSON: every counter, and what `wg show` says, without secrets (PG-143). */
  snapshot(): string;
}

export interface WgControlOptions {
  readonly name: string;
  readonly host: PlaneHost;
  readonly shell: Shell;
  readonly machine: WgInterface;
  /** Of the sockets at the start; 0: none. */
  readonly mark: number;
  readonly log: Log;
}

export function createWgControl(options: WgControlOptions): WgControl {
  const { name, host, shell, machine, log } = options;
  let mark = options.mark;
  let last: Promise<unknown> = Promise.resolve();

  /** One change at a time: binding again takes several turns. */
  function inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = last.then(action);
    last = result.catch(() => {});
    return result;
  }

  const port = (): number => host.sockets().v4?.port ?? host.sockets().v6?.port ?? 0;

  async function bindTo(wanted: number): Promise<void> {
    const before = port();
    const choice = (number: number) =>
      number === 0 ? ({ kind: "any" } as const) : ({ kind: "fixed", port: number } as const);
    try {
      await host.rebind({ port: choice(wanted), mark });
    } catch (error) {
      // Back to where we were: a change that fails changes nothing.
      await host.rebind({ port: choice(before), mark });
      throw error;
    }
  }

  function markSockets(wanted: number): void {
    const { v4, v6 } = host.sockets();
    for (const socket of [v4, v6]) if (socket !== undefined) setMark(host.kernel, socket.fd, wanted);
    mark = wanted;
  }

  async function apply(change: WgSet): Promise<void> {
    if (change.fwMark !== undefined) markSockets(change.fwMark);
    if (change.listenPort !== undefined && change.listenPort !== port()) await bindTo(change.listenPort);
    shell.input((now) => machine.set(now, change));
  }

  async function answerSet(lines: readonly string[]): Promise<string> {
    const change = parseSet(lines);
    if (!change.ok) return formatErrno(UAPI_ERRNO[change.reason]);
    try {
      await apply(change.value);
      return formatErrno(UAPI_ERRNO.ok);
    } catch (error) {
      const errno = errnoOf(error);
      log.warn?.("change refused", { errno: errno === undefined ? String(error) : errnoName(errno) });
      return formatErrno(errno === undefined ? UAPI_ERRNO.io : -errno);
    }
  }

  function answerGet(): string {
    return formatStatus({
      privateKey: machine.privateKey(),
      listenPort: port(),
      fwMark: mark,
      peers: machine.peers(),
    });
  }

  return {
    answer: (request) =>
      inTurn(async () => (request.kind === "get" ? answerGet() : await answerSet(request.lines))),
    rebind: () => inTurn(() => host.rebind({ port: { kind: "fixed", port: port() }, mark })),
    snapshot: () =>
      JSON.stringify({ interface: name, ...snapshotOf(host, machine), listenPort: port(), fwMark: mark }),
  };
}

function snapshotOf(host: PlaneHost, machine: WgInterface): Record<string, unknown> {
  const publicKey = machine.publicKey();
  return {
    publicKey: publicKey && toBase64(publicKey),
    cipher: host.choice.name,
    peers: machine.peers().map((peer) => describePeer(peer, machine)),
    drops: machine.drops(),
    counters: host.plane.counters(),
  };
}

function describePeer(peer: WgPeerStatus, machine: WgInterface): Record<string, unknown> {
  const stats = machine.peerStats(peer.publicKey);
  return {
    publicKey: toBase64(peer.publicKey),
    hasPresharedKey: peer.presharedKey !== undefined,
    endpoint: peer.endpoint && formatSocketAddress(peer.endpoint),
    lastHandshakeUnixMs: peer.lastHandshakeUnixMs > 0 ? peer.lastHandshakeUnixMs : undefined,
    txBytes: peer.txBytes,
    rxBytes: peer.rxBytes,
    keepaliveSeconds: peer.keepaliveSeconds,
    allowedIps: peer.allowedIps.map(formatPrefix),
    loss: stats?.loss,
    rttMs: stats?.rttMs,
    drops: stats?.drops,
  };
}
