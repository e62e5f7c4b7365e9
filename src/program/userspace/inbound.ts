/** Flows that clients send to a gateway without a TUN device, and what becomes of them (PG-129). */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { formatIp, type Log, PosternError, type SocketAddress } from "../../base/index.ts";
import type { Refusal } from "../../packet/index.ts";
import type { StackEvent } from "../../stack/index.ts";
import type { Engine } from "./engine.ts";
import type { Addr, TcpSocket } from "./face.ts";
import { pumpToHost } from "./host-pump.ts";
import { toAddr } from "./raw-tcp.ts";
import type { Sockets } from "./sockets.ts";

/** Whom a flow is forwarded to. */
export interface HostTarget {
  readonly host: string;
  readonly port: number;
}

export type FlowRefusal = "refused" | "prohibited" | "unreachable";

interface FlowBase {
  /** In the tunnel. */
  readonly source: Addr;
  /** The resource's address, as the gateway has resolved it. */
  readonly destination: Addr;
  /** Hands it to the host's own sockets; `to` in place of its destination. */
  forward(to?: HostTarget): Promise<void>;
  /** Says so to the client. */
  refuse(why?: FlowRefusal): void;
}

export interface InboundTcpFlow extends FlowBase {
  readonly protocol: "tcp";
  /** This program is the other end. */
  accept(): Promise<TcpSocket>;
}

export interface InboundUdpFlow extends FlowBase {
  readonly protocol: "udp";
  accept(): DatagramFlow;
}

/** Datagrams of one client's port; ends two minutes after the last. */
export interface DatagramFlow {
  send(data: Uint8Array): void;
  /** `undefined`: the flow is over. */
  receive(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  close(): void;
}

export interface InboundEcho extends FlowBase {
  readonly protocol: "icmp";
  /** Answers it in the name of its destination. */
  accept(): void;
}

export type InboundFlow = InboundTcpFlow | InboundUdpFlow | InboundEcho;

export type OnFlow = (flow: InboundFlow) => void | Promise<void>;

export interface InboundOptions {
  readonly engine: Pick<Engine, "withStack">;
  readonly sockets: Sockets;
  readonly onFlow: OnFlow;
  readonly log: Log;
}

export interface Inbound {
  /** `false`: none of a router's events. */
  handle(event: StackEvent): boolean;
  close(): void;
}

const CONNECT_MS_MAX = 30_000;
/** A client that is gone says nothing: what it had open is found by asking. */
const CLIENT_ASKED_AFTER_MS = 60_000;
const UDP_IDLE_MS = 120_000;
const UDP_FLOWS_MAX = 4_096;
const UDP_QUEUED_MAX = 256;
/** How often idle flows are looked for. */
const SWEEP_MS = 15_000;

type Opened = Extract<StackEvent, { kind: "tcp-opened" }>;

/** What waits for the client's handshake. */
type Adopt = (opened: Opened | undefined) => void;

interface UdpEnd {
  data(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
  usedAt: number;
}

interface State extends InboundOptions {
  readonly adopting: Map<number, Adopt>;
  readonly udp: Map<string, UdpEnd>;
  sweep: NodeJS.Timeout | undefined;
}

/** By default everything goes to the host's sockets. */
export function createInbound(options: InboundOptions): Inbound {
  const state: State = { ...options, adopting: new Map(), udp: new Map(), sweep: undefined };
  return {
    handle: (event) => handle(state, event),
    close() {
      clearInterval(state.sweep);
      for (const end of [...state.udp.values()]) end.close();
      for (const adopt of [...state.adopting.values()]) adopt(undefined);
    },
  };
}

export const forwardAll: OnFlow = (flow) => flow.forward();

function handle(state: State, event: StackEvent): boolean {
  switch (event.kind) {
    case "tcp-asked":
      offer(state, tcpFlow(state, event));
      return true;
    case "tcp-opened": {
      state.engine.withStack((stack, now) => stack.keepAlive(now, event.id, CLIENT_ASKED_AFTER_MS));
      const adopt = event.asked === undefined ? undefined : state.adopting.get(event.asked);
      adopt?.(event);
      return true;
    }
    case "tcp-forgotten":
      state.adopting.get(event.asked)?.(undefined);
      return true;
    case "datagram":
      handleDatagram(state, event);
      return true;
    case "echo-asked":
      offer(state, echoFlow(state, event));
      return true;
    default:
      return false;
  }
}

/** A flow that nobody decides about is refused, and a failure of the program's own is no way in. */
function offer({ onFlow, log }: State, flow: InboundFlow & { isDecided(): boolean }): void {
  const undecided = (): void => {
    if (!flow.isDecided()) flow.refuse("prohibited");
  };
  try {
    Promise.resolve(onFlow(flow)).then(undecided, (error: unknown) => {
      log.debug?.("flow not served", { error });
      undecided();
    });
  } catch (error) {
    log.warn?.("onFlow threw", { error });
    undecided();
  }
}

const REFUSALS: Readonly<Record<FlowRefusal, "refuse" | Refusal>> = {
  refused: "refuse",
  prohibited: "prohibited",
  unreachable: "host-unreachable",
};

function tcpFlow(
  state: State,
  { asked, local, remote }: Extract<StackEvent, { kind: "tcp-asked" }>,
): InboundTcpFlow & { isDecided(): boolean } {
  let isDecided = false;
  const decide = (answer: "accept" | "refuse" | Refusal): void => {
    isDecided = true;
    state.engine.withStack((stack, now) => stack.decide(now, asked, answer));
  };
  /** Whoever takes the connection has it at once: its first data may come with the handshake. */
  const accept = <T>(adopt: (opened: Opened) => T): Promise<T> =>
    new Promise((resolve, reject) => {
      state.adopting.set(asked, (opened) => {
        state.adopting.delete(asked);
        if (opened === undefined) reject(new PosternError("closed", "the client is gone"));
        else resolve(adopt(opened));
      });
      decide("accept");
    });
  return {
    protocol: "tcp",
    ...{ source: toAddr(remote), destination: toAddr(local), isDecided: () => isDecided },
    accept: () => accept(state.sockets.adopt),
    refuse: (why = "prohibited") => decide(REFUSALS[why]),
    async forward(to = { host: formatIp(local.address), port: local.port }) {
      isDecided = true;
      const socket = connect({ ...to, allowHalfOpen: true, noDelay: true, timeout: CONNECT_MS_MAX });
      try {
        await connected(socket);
      } catch (error) {
        socket.destroy();
        return decide(refusalOf(error));
      }
      socket.pause();
      try {
        await accept(({ id }) => state.sockets.attach(id, remote, pumpToHost(state.engine, id, socket)));
        socket.resume();
      } catch {
        socket.destroy();
      }
    },
  };
}

function connected(socket: ReturnType<typeof connect>): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeListener("error", reject);
      resolve();
    });
    socket.once("error", reject);
    socket.once("timeout", () => reject(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
  });
}

/** What the host says to us is said to the client. */
function refusalOf(error: unknown): "refuse" | Refusal {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ECONNREFUSED") return "refuse";
  return code === "EACCES" || code === "EPERM" ? "prohibited" : "host-unreachable";
}

function handleDatagram(state: State, event: Extract<StackEvent, { kind: "datagram" }>): void {
  const { local, remote, bytes } = event;
  const key = `${formatIp(remote.address)} ${remote.port} ${formatIp(local.address)} ${local.port}`;
  const known = state.udp.get(key);
  if (known !== undefined) {
    known.usedAt = performance.now();
    return known.data(bytes);
  }
  if (state.udp.size >= UDP_FLOWS_MAX) return;
  const waiting: Uint8Array<ArrayBuffer>[] = [bytes];
  // Until somebody has decided they wait.
  state.udp.set(key, {
    data: (more) => void (waiting.length < UDP_QUEUED_MAX && waiting.push(more)),
    close: () => void state.udp.delete(key),
    usedAt: performance.now(),
  });
  startSweep(state);
  offer(state, udpFlow(state, event, { key, waiting }));
}

function udpFlow(
  state: State,
  { local, remote, packet }: Extract<StackEvent, { kind: "datagram" }>,
  { key, waiting }: { readonly key: string; readonly waiting: Uint8Array<ArrayBuffer>[] },
): InboundUdpFlow & { isDecided(): boolean } {
  let isDecided = false;
  const answer = (data: Uint8Array): void => {
    const end = state.udp.get(key);
    if (end !== undefined) end.usedAt = performance.now();
    state.engine.withStack((stack) => stack.sendUdp(local, remote, data));
  };
  const begin = (end: Omit<UdpEnd, "usedAt">): void => {
    isDecided = true;
    state.udp.set(key, { ...end, usedAt: performance.now() });
    for (const bytes of waiting.splice(0)) end.data(bytes);
  };
  return {
    protocol: "udp",
    ...{ source: toAddr(remote), destination: toAddr(local), isDecided: () => isDecided },
    accept() {
      const flow = createDatagramFlow({ answer, end: () => void state.udp.delete(key) });
      begin(flow.end);
      return flow.face;
    },
    refuse(why = "prohibited") {
      isDecided = true;
      state.udp.delete(key);
      const refusal = why === "refused" ? "port-unreachable" : REFUSALS[why];
      if (packet === undefined || refusal === "refuse") return;
      state.engine.withStack((stack) => stack.refuse(packet, refusal));
    },
    async forward(to = { host: formatIp(local.address), port: local.port }) {
      begin(
        hostDatagrams(to, answer, { isV6: local.address.length === 16, end: () => state.udp.delete(key) }),
      );
    },
  };
}

/** A socket of the host for one flow, as a kernel that masquerades has it. */
function hostDatagrams(
  { host, port }: HostTarget,
  answer: (data: Uint8Array) => void,
  { isV6, end }: { readonly isV6: boolean; readonly end: () => void },
): Omit<UdpEnd, "usedAt"> {
  const socket = createSocket(isV6 ? "udp6" : "udp4");
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    socket.close();
    end();
  };
  const waiting: Uint8Array[] = [];
  let isConnected = false;
  socket.on("message", answer);
  // Such as nobody listening there: UDP goes on, the next datagram may be heard.
  socket.on("error", () => {
    if (!isConnected) close();
  });
  socket.connect(port, host, () => {
    isConnected = true;
    for (const data of waiting.splice(0)) socket.send(data);
  });
  return {
    data(bytes) {
      if (!isOpen) return;
      if (isConnected) socket.send(bytes);
      else if (waiting.length < UDP_QUEUED_MAX) waiting.push(bytes);
    },
    close,
  };
}

function createDatagramFlow({
  answer,
  end,
}: {
  readonly answer: (data: Uint8Array) => void;
  readonly end: () => void;
}): { readonly face: DatagramFlow; readonly end: Omit<UdpEnd, "usedAt"> } {
  const queued: Uint8Array<ArrayBuffer>[] = [];
  const waiting: ((data: Uint8Array<ArrayBuffer> | undefined) => void)[] = [];
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    end();
    for (const resolve of waiting.splice(0)) resolve(undefined);
  };
  const face: DatagramFlow = {
    send: (data) => void (isOpen && answer(data)),
    receive() {
      const next = queued.shift();
      if (next !== undefined || !isOpen) return Promise.resolve(next);
      return new Promise((resolve) => void waiting.push(resolve));
    },
    close,
  };
  return {
    face,
    end: {
      close,
      data(bytes) {
        const first = waiting.shift();
        if (first !== undefined) first(bytes);
        else if (queued.length < UDP_QUEUED_MAX) queued.push(bytes);
      },
    },
  };
}

function startSweep(state: State): void {
  state.sweep ??= setInterval(() => {
    const idleSince = performance.now() - UDP_IDLE_MS;
    for (const end of [...state.udp.values()]) if (end.usedAt < idleSince) end.close();
  }, SWEEP_MS).unref();
}

/** No runtime has ICMP sockets: what is not answered here is answered as unreachable. */
function echoFlow(
  state: State,
  { local, packet }: Extract<StackEvent, { kind: "echo-asked" }>,
): InboundEcho & { isDecided(): boolean } {
  let isDecided = false;
  const refuse = (why: FlowRefusal = "prohibited"): void => {
    isDecided = true;
    const refusal = why === "prohibited" ? "prohibited" : "host-unreachable";
    state.engine.withStack((stack) => stack.refuse(packet, refusal));
  };
  const noPort = (address: SocketAddress["address"]): Addr => toAddr({ address, port: 0 });
  return {
    protocol: "icmp",
    ...{ source: noPort(sourceOf(packet)), destination: noPort(local), isDecided: () => isDecided, refuse },
    accept() {
      isDecided = true;
      state.engine.withStack((stack) => stack.echo(packet));
    },
    forward: async () => refuse("unreachable"),
  };
}

function sourceOf(packet: Uint8Array): Uint8Array {
  return (packet[0] ?? 0) >> 4 === 4 ? packet.subarray(12, 16) : packet.subarray(8, 24);
}
