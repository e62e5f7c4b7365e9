/**
 * Streams between an end and its relays in the simulated world: the shell's part at either end, without TLS, which is
 * the runtime's. What the end sends to the bridge comes to the relay from a bridge of its own, and back (RL-206, RL-210).
 *
 *     end ── 127.128.0.1:3478 ══ stream ══ 127.64.0.1:40001 ── relay
 */
import { formatSocketAddress, ip, type SocketAddress } from "../../src/base/index.ts";
import type { StreamNews, StreamPlace, StreamRequest } from "../../src/connections/index.ts";
import { nextTurn } from "../lib/bounds.ts";
import type { End } from "./duo.ts";
import { RELAY_LISTEN, type SimulatedRelay } from "./relay.ts";
import type { OutgoingDatagram, World } from "./world.ts";

/** TCP's and TLS's handshakes, then what a stream adds to each datagram. */
const OPENS_AFTER_MS = 60;
const TAKES_MS = 20;
const REFUSED_AFTER_MS = 20;
const LOOPBACK = ip("127.0.0.1");

export const TLS: StreamPlace = {
  transport: "tls",
  addresses: [{ address: ip("203.0.113.1"), port: 443 }],
  name: "relay.example",
};

export interface SimulatedStreams {
  /** Each stream that was opened, by the id of its relay. */
  readonly opened: string[];
  readonly closed: string[];
  /** Whether streams can be opened. */
  isBlocked: boolean;
  /** All that are open end now. */
  breakAll(): void;
}

interface Link {
  readonly relay: SimulatedRelay;
  /** At the end, and at the relay. */
  readonly near: SocketAddress;
  readonly far: SocketAddress;
}

interface State extends SimulatedStreams {
  readonly world: World;
  readonly end: End;
  readonly relays: readonly SimulatedRelay[];
  readonly links: Set<Link>;
}

export function carryStreams(world: World, end: End, relays: readonly SimulatedRelay[]): SimulatedStreams {
  const state: State = {
    ...{ world, end, relays, links: new Set() },
    ...{ opened: [], closed: [], isBlocked: false },
    breakAll() {
      for (const link of [...state.links]) {
        leave(state, link);
        tell(state, { kind: "ended", relay: link.relay.id, reason: "the other end closed it" });
      }
    },
  };
  const { program } = end.host;
  if (program === undefined) throw new Error("no program");
  end.host.program = {
    ...program,
    drain(now) {
      program.drain(now);
      const { connections } = end.machine;
      for (let wish = connections.pollStream(); wish !== undefined; wish = connections.pollStream())
        carryOut(state, wish);
    },
    pollTransmit: () =>
      pollPast(
        () => program.pollTransmit(),
        (sent) => toRelay(state, sent),
      ),
  };
  for (const relay of relays) {
    const served = relay.host.program;
    if (served === undefined) throw new Error("no relay");
    relay.host.program = {
      ...served,
      pollTransmit: () =>
        pollPast(
          () => served.pollTransmit(),
          (sent) => toEnd(state, sent),
        ),
    };
  }
  return state;
}

/** The next that no stream takes. */
function pollPast(
  poll: () => OutgoingDatagram | undefined,
  takes: (sent: OutgoingDatagram) => boolean,
): OutgoingDatagram | undefined {
  let sent = poll();
  for (let turns = 0; sent !== undefined && takes(sent); turns = nextTurn(turns, "streams")) sent = poll();
  return sent;
}

function carryOut(state: State, wish: StreamRequest): void {
  const relay = state.relays.find(({ id }) => id === wish.relay);
  if (relay === undefined) throw new Error(`no relay ${wish.relay}`);
  if (wish.kind === "close") {
    for (const link of [...state.links]) if (link.relay === relay) leave(state, link);
    return;
  }
  if (state.isBlocked) {
    const news = { kind: "ended", relay: relay.id, reason: "refused" } as const;
    return state.world.at(REFUSED_AFTER_MS, () => tell(state, news));
  }
  state.world.at(OPENS_AFTER_MS, () => {
    const number = state.opened.push(relay.id);
    const link: Link = {
      relay,
      near: { address: ip(`127.128.0.${number}`), port: RELAY_LISTEN },
      far: { address: ip(`127.64.${state.end.role === "client" ? 0 : 1}.${number}`), port: 40_000 + number },
    };
    state.links.add(link);
    tell(state, { kind: "opened", relay: relay.id, socket: link.near });
  });
}

function leave(state: State, link: Link): void {
  const { world, links, closed } = state;
  links.delete(link);
  closed.push(link.relay.id);
  link.relay.server.handleStreamEnd(world.now(), link.far);
  world.flush(link.relay.host);
}

function tell({ world, end }: State, news: StreamNews): void {
  end.machine.apply(world.now(), (connections) => connections.handleStream(world.now(), news));
  world.flush(end.host);
}

function toRelay({ world, links }: State, { destination, bytes }: OutgoingDatagram): boolean {
  const link = [...links].find(({ near }) => isSame(near, destination));
  if (link === undefined) return destination.address[0] === 127;
  const { host } = link.relay;
  const copy = bytes.slice();
  world.at(TAKES_MS, () => {
    if (!links.has(link)) return;
    const local = { address: LOOPBACK, port: RELAY_LISTEN };
    host.program?.handleDatagram(world.now(), { local, from: link.far, bytes: copy });
    world.flush(host);
  });
  return true;
}

function toEnd({ world, links, end }: State, { destination, bytes }: OutgoingDatagram): boolean {
  const link = [...links].find(({ far }) => isSame(far, destination));
  if (link === undefined) return false;
  const { host } = end;
  const copy = bytes.slice();
  world.at(TAKES_MS, () => {
    if (!links.has(link)) return;
    const local = { address: LOOPBACK, port: host.port };
    host.program?.handleDatagram(world.now(), { local, from: link.near, bytes: copy });
    world.flush(host);
  });
  return true;
}

function isSame(a: SocketAddress, b: SocketAddress): boolean {
  return formatSocketAddress(a) === formatSocketAddress(b);
}
