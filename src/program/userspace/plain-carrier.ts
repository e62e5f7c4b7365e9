/** Grade `plain` (PG-122, D-15): the packet plane in the calling thread, on the runtime's sockets. */
import { createPlane, createPlaneMemory, type Plane, type PlaneSend } from "../../../bindings/plane/index.ts";
import { equalSocketAddress, type Instant, type IpAddress } from "../../base/index.ts";
import type { PlaneEvent } from "../../plane/index.ts";
import { sharedChoice } from "../shared-choice.ts";
import { TURN_INPUTS } from "../shell/index.ts";
import { systemRandom } from "../system-random.ts";
import { type Carrier, type CarrierOptions, TUNNEL_MTU } from "./carrier.ts";
import { createGathering, type Gathering } from "./gathering.ts";
import { createPlainClock } from "./plain-clock.ts";
import { type ArrivedDatagram, openRuntimeSockets, type RuntimeSockets } from "./udp-sockets.ts";

/** One receive of the plane, as the kernel would join datagrams. */
const BATCH_BYTES_MAX = 60_000;
const BATCH_DATAGRAMS_MAX = 64;

interface State {
  readonly options: CarrierOptions;
  readonly plane: Plane;
  readonly gathering: Gathering;
  readonly now: () => Instant;
  sockets: RuntimeSockets;
  inbox: ArrivedDatagram[];
  isClosed: boolean;
}

const NO_SOCKETS: RuntimeSockets = { own: [], port: 0, send: () => "done", close: () => {} };

/** @throws PosternError `host` where there is no socket, `cipher-unusable` */
export async function openPlainCarrier(options: CarrierOptions): Promise<Carrier> {
  const choice = sharedChoice(options.cipher);
  const plane = createPlane({
    ...{ memory: createPlaneMemory().memory, module: choice.module, mode: options.mode, mtu: TUNNEL_MTU },
    flows: { random: systemRandom },
  });
  const state: State = {
    ...{ options, plane, gathering: createGathering(), now: createPlainClock() },
    ...{ sockets: NO_SOCKETS, inbox: [], isClosed: false },
  };
  state.sockets = await openSockets(state, options.addresses, options.port);
  options.log.info?.("packet plane in this thread", { cipher: choice.name, port: state.sockets.port });
  return {
    ...{ grade: "plain", choice, counters: plane.counters, now: state.now },
    plane: {
      ...plane,
      execute(command) {
        plane.execute(command);
        // The egress worker's part of it.
        if (command.kind === "inject") options.wake();
      },
      takeEvents: (limit) => plane.takeEvents(limit).map((event) => withPort(state, event)),
    },
    own: () => state.sockets.own,
    gathers: () => state.gathering.goesOn(state.inbox.length),
    receive: (take) => receive(state, take),
    transmit: (poll) => transmit(state, poll),
    isDrained: () => true,
    send: ({ destination, source, bytes }) => state.sockets.send(destination, bytes, source),
    rebind: (addresses) => rebind(state, addresses),
    async close() {
      state.isClosed = true;
      state.sockets.close();
    },
  };
}

function openSockets(state: State, addresses: readonly IpAddress[], port: number): Promise<RuntimeSockets> {
  return openRuntimeSockets({
    ...{ addresses, port, log: state.options.log },
    onDatagram(datagram) {
      // Nothing of ours is empty.
      if (datagram.bytes.length === 0) return;
      state.inbox.push(datagram);
      state.options.wake();
    },
  });
}

async function rebind(state: State, addresses: readonly IpAddress[]): Promise<void> {
  // Of an attempt that failed there is none.
  const port = state.sockets.port || state.options.port;
  state.sockets.close();
  state.sockets = NO_SOCKETS;
  const opened = await openSockets(state, addresses, port);
  if (state.isClosed) opened.close();
  else state.sockets = opened;
}

function withPort({ sockets }: State, event: PlaneEvent): PlaneEvent {
  if (!("bytes" in event)) return event;
  return { ...event, local: { address: event.local.address, port: sockets.port } };
}

/** What came from one place is one receive of the plane, as the kernel joins it for sockets of the plane's workers. */
function receive(state: State, take: (frame: Uint8Array) => void): boolean {
  const { plane, now } = state;
  const { drive } = plane;
  const arrived = state.inbox.slice(0, TURN_INPUTS);
  state.inbox = state.inbox.slice(arrived.length);
  state.gathering.taken(state.inbox.length);
  for (let at = 0, count = 0; at < arrived.length; at += count) {
    const first = arrived[at];
    if (first === undefined) break;
    count = batchLength(arrived, at);
    const { from, local } = first;
    const datagrams = arrived.slice(at, at + count).map(({ bytes }) => bytes);
    drive.ingressOf(now(), { from, local: local.address, datagrams }, take);
    for (const reply of drive.takeReplies()) state.sockets.send(from, reply, local.address);
  }
  drive.flushIngressTo(now(), take);
  return state.inbox.length > 0;
}

/** How many from `at` on are of one length, but for a shorter last one. */
function batchLength(arrived: readonly ArrivedDatagram[], at: number): number {
  const first = arrived[at];
  if (first === undefined) return 0;
  const segmentBytes = first.bytes.length;
  const most = Math.max(1, Math.min(BATCH_DATAGRAMS_MAX, Math.floor(BATCH_BYTES_MAX / segmentBytes)));
  for (let count = 1; count < most; count++) {
    const next = arrived[at + count];
    if (next === undefined || next.bytes.length > segmentBytes) return count;
    if (next.local !== first.local || !equalSocketAddress(next.from, first.from)) return count;
    if (next.bytes.length < segmentBytes) return count + 1;
  }
  return most;
}

/** What the stack wants to have sent, and what control has injected. */
function transmit(state: State, poll: (into: Uint8Array) => number): "all" {
  const { plane } = state;
  const at = state.now();
  for (let length = -1; length !== 0; ) {
    const sends = plane.drive.egressFrom(at, (into) => {
      length = poll(into);
      return length;
    });
    sendAll(state, sends);
  }
  sendAll(state, plane.drive.flushEgress(at));
  return "all";
}

function sendAll({ sockets }: State, sends: readonly PlaneSend[]): void {
  for (const { to, source, bytes, segmentBytes } of sends) {
    const step = Math.max(1, segmentBytes);
    for (let at = 0; at < bytes.length; at += step) {
      sockets.send(to, bytes.subarray(at, at + step), source);
    }
  }
}
