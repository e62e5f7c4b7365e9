/** Where clients ask the name server of a gateway without a device: the stack's own addresses (DN-84, DN-90). */
import { formatIp, type SocketAddress } from "../../base/index.ts";
import { GATEWAY_DNS_PORT } from "../../dns/index.ts";
import type { StackEvent } from "../../stack/index.ts";
import {
  type Asked,
  CONNECTIONS_MAX,
  createQuestionStream,
  type ListenForNames,
  type QuestionStream,
} from "../dns/index.ts";
import type { Engine } from "./engine.ts";
import type { TcpHandle } from "./raw-tcp.ts";
import type { Sockets } from "./sockets.ts";

export interface NameDoor {
  readonly listenAt: ListenForNames;
  /** `false`: none of its events. */
  handle(event: StackEvent): boolean;
}

interface Listener {
  readonly onAsked: (asked: Asked) => void;
  readonly streams: Set<number>;
}

interface State {
  readonly engine: Pick<Engine, "withStack">;
  readonly sockets: Pick<Sockets, "attach">;
  readonly listeners: Map<string, Listener>;
}

export function createNameDoor(
  engine: Pick<Engine, "withStack">,
  sockets: Pick<Sockets, "attach">,
): NameDoor {
  const state: State = { engine, sockets, listeners: new Map() };
  return {
    listenAt: async (address, onAsked) => {
      const key = formatIp(address);
      const listener: Listener = { onAsked, streams: new Set() };
      state.listeners.set(key, listener);
      // One port of the stack is that of all addresses.
      engine.withStack((stack) => {
        stack.bindUdp(GATEWAY_DNS_PORT);
        stack.listenTcp(GATEWAY_DNS_PORT);
      });
      return { close: () => close(state, key, listener) };
    },
    handle(event) {
      if (event.kind === "datagram") return handleDatagram(state, event);
      return event.kind === "tcp-opened" && handleOpened(state, event);
    },
  };
}

function close({ engine, listeners }: State, key: string, listener: Listener): void {
  if (listeners.get(key) === listener) listeners.delete(key);
  engine.withStack((stack, now) => {
    for (const id of listener.streams) stack.abort(now, id);
    if (listeners.size > 0) return;
    stack.releaseUdp(GATEWAY_DNS_PORT);
    stack.ignoreTcp(GATEWAY_DNS_PORT);
  });
}

/** A packet comes with those only that are for somebody behind the gateway. */
function handleDatagram(
  { engine, listeners }: State,
  { local, remote, bytes, packet }: Extract<StackEvent, { kind: "datagram" }>,
): boolean {
  if (packet !== undefined) return false;
  listeners.get(formatIp(local.address))?.onAsked({
    ...{ transport: "udp", client: remote.address, bytes },
    reply(answer) {
      if (answer !== undefined) engine.withStack((stack) => stack.sendUdp(local, remote, answer));
    },
  });
  return true;
}

function handleOpened(
  state: State,
  { id, local, remote, asked }: Extract<StackEvent, { kind: "tcp-opened" }>,
): boolean {
  if (asked !== undefined || local.port !== GATEWAY_DNS_PORT) return false;
  const listener = state.listeners.get(formatIp(local.address));
  if (listener === undefined || listener.streams.size >= CONNECTIONS_MAX) {
    state.engine.withStack((stack, now) => stack.abort(now, id));
    return true;
  }
  listener.streams.add(id);
  state.sockets.attach(id, remote, serve(state.engine, { id, remote, listener }));
  return true;
}

interface Opened {
  readonly id: number;
  readonly remote: SocketAddress;
  readonly listener: Listener;
}

function serve(engine: Pick<Engine, "withStack">, { id, remote, listener }: Opened): TcpHandle {
  const unsent: Uint8Array[] = [];
  let [isPaused, isEnding, untaken] = [false, false, 0];

  /** Whether all has left. */
  function send(): boolean {
    for (let next = unsent[0]; next !== undefined; next = unsent[0]) {
      const piece = next;
      const taken = engine.withStack((stack, now) => stack.send(now, id, piece));
      if (taken < piece.length) {
        unsent[0] = piece.subarray(taken);
        return false;
      }
      unsent.shift();
    }
    if (isEnding) engine.withStack((stack, now) => stack.end(now, id));
    return true;
  }

  /** The window stays closed for what nobody has read. */
  function take(): void {
    const octets = untaken;
    untaken = 0;
    if (octets > 0) engine.withStack((stack, now) => stack.take(now, id, octets));
  }

  const abort = (): void => engine.withStack((stack, now) => stack.abort(now, id));
  const stream: QuestionStream = createQuestionStream(remote.address, listener.onAsked, {
    write(bytes) {
      unsent.push(bytes);
      return send();
    },
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
      take();
    },
    end() {
      isEnding = true;
      send();
    },
    ...{ close: abort, abort },
  });
  return {
    data(bytes) {
      untaken += bytes.length;
      stream.data(bytes);
      if (!isPaused) take();
    },
    writable() {
      if (send()) stream.drained();
    },
    ended: stream.ended,
    closed() {
      listener.streams.delete(id);
      stream.closed();
    },
  };
}
