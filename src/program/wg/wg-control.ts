/** What can be asked of a running interface: the status socket's requests, binding again, a snapshot. */
import { errnoName, errnoOf, setMark } from "../../../bindings/linux/index.ts";
import { formatPrefix, formatSocketAddress, type Log, PosternError, toBase64 } from "../../base/index.ts";
import {
  formatErrno,
  formatStatusInSteps,
  parseSetInSteps,
  partsOf,
  type Steps,
  UAPI_ERRNO,
  type UapiRequest,
  type WgInterface,
  type WgPeerStatus,
  type WgSet,
} from "../../wg/index.ts";
import { allSockets, type PlaneHost, type Shell } from "../shell/index.ts";
import { inTurns, type NextTurn, nextTurn } from "./turns.ts";

export interface WgControl {
  /** The answer to a request of the status socket (WG-66). Requests wait for each other. */
  answer(request: Exclude<UapiRequest, { kind: "refused" }>): Promise<string>;
  /** Applies a change that nobody has to judge: the configuration file's. Resolves when all of it is there. */
  setPeers(change: WgSet): Promise<void>;
  /** Binds the sockets again, to the same port (WG-69). */
  rebind(): Promise<void>;
  /**
   * One line of JSON: every counter, and what `wg show` says, without secrets (PG-143). One after the other; who asks
   * while another waits already gets that one.
   */
  snapshot(): Promise<string>;
}

export interface WgControlOptions {
  readonly name: string;
  readonly host: PlaneHost;
  readonly shell: Shell;
  readonly machine: WgInterface;
  /** Of the sockets at the start; 0: none. */
  readonly mark: number;
  /** There are no sockets any more, as neither the wanted port nor the one before was to be had. */
  readonly onLost?: () => void;
  readonly log: Log;
  /** For tests. */
  readonly nextTurn?: NextTurn;
}

interface ControlState extends WgControlOptions {
  readonly nextTurn: NextTurn;
  /** Of the sockets now. */
  mark: number;
  /** Where they are bound, or were when there were some. */
  port: number;
  /** Sockets are closed and opened again: there is no port to be told. */
  isBinding: boolean;
  /** Ends when everything that was asked so far is done. */
  last: Promise<unknown>;
  /** Being made, and the one behind it. */
  snapshot: Promise<string> | undefined;
  nextSnapshot: Promise<string> | undefined;
}

export function createWgControl(options: WgControlOptions): WgControl {
  const state: ControlState = {
    nextTurn,
    ...options,
    port: portOf(options.host),
    isBinding: false,
    last: Promise.resolve(),
    snapshot: undefined,
    nextSnapshot: undefined,
  };
  return {
    answer(request) {
      // Thousands of peers that are being added keep nobody from looking.
      if (request.kind === "get" && !state.isBinding) return answerGet(state);
      return inTurn(state, async () =>
        request.kind === "get" ? await answerGet(state) : await answerSet(state, request.lines),
      );
    },
    setPeers: (change) => inTurn(state, () => setInParts(state, change)),
    rebind: () =>
      inTurn(state, () => bind(state, { port: { kind: "fixed", port: state.port }, mark: state.mark })),
    snapshot: () => takeSnapshot(state),
  };
}

/** One change at a time: binding again takes several turns. */
function inTurn<T>(state: ControlState, action: () => Promise<T>): Promise<T> {
  const result = state.last.then(action);
  state.last = result.catch(() => {});
  return result;
}

function portOf(host: PlaneHost): number {
  return host.sockets().v4?.port ?? host.sockets().v6?.port ?? 0;
}

async function answerGet(state: ControlState): Promise<string> {
  const { machine, mark: fwMark } = state;
  const status = { privateKey: machine.privateKey(), listenPort: portOf(state.host), fwMark };
  return await inTurns(formatStatusInSteps(status, machine.peersInPieces()), state.nextTurn);
}

async function answerSet(state: ControlState, lines: readonly string[]): Promise<string> {
  const { machine, log } = state;
  const change = await inTurns(
    parseSetInSteps(lines, { indexOf: (device) => findDevice(state, device) }),
    state.nextTurn,
  );
  if (!change.ok) return formatErrno(UAPI_ERRNO[change.reason]);
  const refusal = await inTurns(machine.refusalInSteps(change.value), state.nextTurn);
  if (refusal !== undefined) {
    log.warn?.("change refused", { reason: refusal });
    return formatErrno(refusal === "no-room" ? UAPI_ERRNO.noRoom : UAPI_ERRNO.invalid);
  }
  try {
    await apply(state, change.value);
    return formatErrno(UAPI_ERRNO.ok);
  } catch (error) {
    const errno = errnoOf(error);
    log.warn?.("change refused", { errno: errno === undefined ? String(error) : errnoName(errno) });
    return formatErrno(errno === undefined ? UAPI_ERRNO.io : -errno);
  }
}

/** A device of which the kernel tells nothing now is refused to who names it, and nothing ends. */
function findDevice({ host, log }: ControlState, device: string): number | undefined {
  try {
    return host.rtnetlink.links().find(({ name }) => name === device)?.index;
  } catch (error) {
    if (!(error instanceof PosternError)) throw error;
    log.warn?.("devices cannot be listed", { reason: error.message });
    return undefined;
  }
}

async function apply(state: ControlState, change: WgSet): Promise<void> {
  const { fwMark: mark = state.mark, listenPort } = change;
  if (listenPort !== undefined && listenPort !== portOf(state.host)) await bindTo(state, listenPort, mark);
  else if (mark !== state.mark) markSockets(state, mark);
  await setInParts(state, change);
}

async function setInParts(state: ControlState, change: WgSet): Promise<void> {
  const { shell, machine } = state;
  for (const part of partsOf(change)) {
    shell.input((now) => machine.set(now, part.change, part));
    await state.nextTurn();
  }
}

/** Binds to a port, with a mark; where that fails, back to where we were: nothing has changed then. */
async function bindTo(state: ControlState, port: number, mark: number): Promise<void> {
  const before = state.port;
  const choice = (number: number) =>
    number === 0 ? ({ kind: "any" } as const) : ({ kind: "fixed", port: number } as const);
  try {
    await bind(state, { port: choice(port), mark });
    state.mark = mark;
  } catch (error) {
    await bind(state, { port: choice(before), mark: state.mark }).catch(() => state.onLost?.());
    throw error;
  }
}

async function bind(state: ControlState, changes: Parameters<PlaneHost["rebind"]>[0]): Promise<void> {
  state.isBinding = true;
  try {
    await state.host.rebind(changes);
    state.port = portOf(state.host);
  } finally {
    state.isBinding = false;
  }
}

function markSockets(state: ControlState, mark: number): void {
  for (const { fd } of allSockets(state.host.sockets())) setMark(state.host.kernel, fd, mark);
  state.mark = mark;
}

function takeSnapshot(state: ControlState): Promise<string> {
  if (state.nextSnapshot !== undefined) return state.nextSnapshot;
  const make = (): Promise<string> => inTurns(snapshotInSteps(state), state.nextTurn);
  const { snapshot: current } = state;
  const made = current === undefined ? make() : current.then(make, make);
  if (current === undefined) state.snapshot = made;
  else state.nextSnapshot = made;
  const forget = (): void => {
    state.snapshot = state.nextSnapshot;
    state.nextSnapshot = undefined;
  };
  made.then(forget, forget);
  return made;
}

/** Counters first, all of one moment; then the peers in pieces, as `get` tells them (WG-67). */
function* snapshotInSteps(state: ControlState): Steps<string> {
  const { name, host, machine } = state;
  const publicKey = machine.publicKey();
  const head = JSON.stringify({
    interface: name,
    publicKey: publicKey && toBase64(publicKey),
    cipher: host.choice.name,
    drops: machine.drops(),
    counters: host.plane.counters(),
    listenPort: portOf(state.host),
    fwMark: state.mark,
  });
  const pieces: string[] = [];
  for (const peers of machine.peersInPieces()) {
    pieces.push(peers.map((peer) => JSON.stringify(describePeer(peer, machine))).join(","));
    // Behind each, so that the next is looked up in the turn in which it is told.
    yield;
  }
  return `${head.slice(0, -1)},"peers":[${pieces.filter((piece) => piece !== "").join(",")}]}`;
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
