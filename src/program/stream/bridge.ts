/**
 * Joins a TURN stream to a UDP socket on loopback (RL-206, RL-210), so that whoever speaks TURN over UDP,
 * plane and machines alike, speaks it over TLS without knowing.
 *
 *     relay client's or relay's UDP socket ⟷ [127.x.y.z:port bridge] ⟷ TCP or TLS
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Instant, SocketAddress } from "../../base/index.ts";
import { formatIp, parseIp } from "../../base/index.ts";
import { createStreamQueue, createStreamReader, type StreamQueue, toStream } from "../../turn/index.ts";

/** How much the stream itself may hold: what is beyond that waits where it can still be dropped. */
const STREAM_BUFFER_BYTES = 64 << 10;

/** The plane sends trains of up to 64 KiB at once; as much as the system grants. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

export interface BridgeOptions {
  readonly stream: Socket;
  /** Where the bridge's UDP socket listens: an address of 127/8. */
  readonly address: string;
  /** Absent: the system's choice. */
  readonly port?: number;
  /** Where messages of the stream go; what comes from anywhere else is dropped and counted. */
  readonly peer: () => SocketAddress;
  readonly now: () => Instant;
  /** Called once, with why: the stream's error, its end, or `framing` (RL-201). */
  readonly onEnd: (reason: string) => void;
}

export interface BridgeStats {
  /** In bytes. */
  readonly waiting: number;
  /** ChannelData that came too late for the stream (RL-204). */
  readonly late: number;
  /** Datagrams of strangers, and answers of the kernel. */
  readonly foreign: number;
}

export interface Bridge {
  /** The bridge as UDP sees it. */
  readonly udp: SocketAddress;
  stats(): BridgeStats;
  /** When the far end was last heard. */
  lastHeard(): Instant;
  /** Whether a complete message has come. */
  hasSpoken(): boolean;
  /** Ends the stream and closes the socket; `onEnd` is not called. */
  close(): void;
}

interface State {
  readonly options: BridgeOptions;
  readonly udp: UdpSocket;
  readonly queue: StreamQueue;
  lastHeard: Instant;
  hasSpoken: boolean;
  foreign: number;
  isClosed: boolean;
}

export async function openBridge(options: BridgeOptions): Promise<Bridge> {
  const { stream, now } = options;
  const udp = createSocket({ type: "udp4", recvBufferSize: RECEIVE_BUFFER_BYTES });
  udp.bind(options.port ?? 0, options.address);
  await once(udp, "listening");
  const state: State = {
    options,
    udp,
    queue: createStreamQueue(),
    lastHeard: now(),
    hasSpoken: false,
    foreign: 0,
    isClosed: false,
  };
  udp.on("message", (datagram, from) => toFarEnd(state, datagram, from));
  udp.on("error", (error) => end(state, error.message));
  carryBack(state);
  stream.on("drain", () => flush(state));
  const { address, port } = udp.address();
  return {
    udp: { address: addressOf(address), port },
    stats: () => ({ waiting: state.queue.bytes, late: state.queue.dropped, foreign: state.foreign }),
    lastHeard: () => state.lastHeard,
    hasSpoken: () => state.hasSpoken,
    close: () => close(state),
  };
}

function toFarEnd(state: State, datagram: Uint8Array, from: RemoteInfo): void {
  const { address, port } = state.options.peer();
  if (from.port !== port || from.address !== formatIp(address)) {
    state.foreign++;
    return;
  }
  state.queue.push(state.options.now(), datagram);
  flush(state);
  if (state.queue.isStalled) end(state, "the other side does not read");
}

/** Writes as long as the stream takes it at once; `drain` goes on with the rest. */
function flush({ options, queue }: State): void {
  const { stream, now } = options;
  while (stream.writable && stream.writableLength < STREAM_BUFFER_BYTES) {
    const datagram = queue.pop(now());
    if (datagram === undefined) return;
    stream.write(toStream(datagram));
  }
}

function carryBack(state: State): void {
  const { stream, now, peer } = state.options;
  const read = createStreamReader();
  stream.on("data", (bytes: Uint8Array) => {
    state.lastHeard = now();
    const { messages, isBroken } = read(bytes);
    for (const message of messages) {
      state.hasSpoken = true;
      const { address, port } = peer();
      // What the loopback has no room for is lost, as on any network.
      state.udp.send(message, port, formatIp(address), () => {});
    }
    if (isBroken) end(state, "framing");
  });
  stream.on("error", (error) => end(state, error.message));
  stream.on("close", () => end(state, "closed by the other side"));
}

function end(state: State, reason: string): void {
  if (state.isClosed) return;
  close(state);
  state.options.onEnd(reason);
}

function close(state: State): void {
  if (state.isClosed) return;
  state.isClosed = true;
  state.udp.close();
  state.options.stream.destroy();
}

function addressOf(text: string) {
  const parsed = parseIp(text);
  if (!parsed.ok) throw new Error(`the system names a socket ${text}`);
  return parsed.value;
}
