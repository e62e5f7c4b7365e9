/**
 * Queries that the resolver sends past the tunnel: from sockets of their own that carry the bypass mark, so that
 * no resource can capture them (DN-61 to DN-65).
 */
import type { QuerySockets } from "../../../bindings/linux/index.ts";
import { concatBytes, type SocketAddress } from "../../base/index.ts";
import {
  type DirectQuery,
  type DirectResult,
  DNS_PORT,
  type Do53Server,
  TCP_LENGTH_BYTES,
} from "../../dns/index.ts";
import type { OpenTcp } from "../portal-transport.ts";
import type { DohClient } from "./doh.ts";

export interface DirectPathOptions {
  /** A new socket for each datagram, past the tunnel. */
  readonly openSockets: (onOutcome: (token: number, outcome: DirectResult) => void) => QuerySockets;
  readonly openTcp: OpenTcp;
  /** Absent where no server is asked so. */
  readonly doh?: DohClient;
  /** Every message that came, or the end of the attempt. */
  readonly onResult: (token: number, result: DirectResult) => void;
  /** Tests have their own. */
  readonly port?: number;
}

export interface DirectPath {
  send(query: DirectQuery): void;
  done(token: number): void;
  close(): void;
}

const STREAM_OPEN_MS_MAX = 5_000;

export function createDirectPath(options: DirectPathOptions): DirectPath {
  const { openSockets, doh, onResult } = options;
  const datagrams = openSockets(onResult);
  /** How the attempts that are no datagrams are given up. */
  const streams = new Map<number, AbortController>();

  async function run(token: number, ask: (signal: AbortSignal) => Promise<DirectResult>): Promise<void> {
    const abort = new AbortController();
    streams.set(token, abort);
    const result = await ask(abort.signal).catch((error: unknown): DirectResult => {
      return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
    });
    streams.delete(token);
    if (!abort.signal.aborted) onResult(token, result);
  }

  return {
    send({ token, upstream, transport, message }) {
      if (upstream.kind === "doh") {
        const none: DirectResult = { kind: "failed", reason: "no DNS over HTTPS here" };
        void run(token, async (signal) => (await doh?.ask(upstream.url, message, signal)) ?? none);
      } else if (transport === "tcp")
        void run(token, (signal) => askByTcp(options, upstream.server, message, signal));
      else datagrams.ask(token, toSocketAddress(upstream.server, options.port), message);
    },
    done(token) {
      datagrams.forget(token);
      streams.get(token)?.abort();
      streams.delete(token);
    },
    close() {
      datagrams.close();
      for (const abort of streams.values()) abort.abort();
      streams.clear();
    },
  };
}

function toSocketAddress({ address, scope }: Do53Server, port = DNS_PORT): SocketAddress {
  return { address, port, ...(scope !== undefined && { scope }) };
}

/** One connection for one query; length and query leave in one write (RFC 7766 §8). */
async function askByTcp(
  { openTcp, port }: DirectPathOptions,
  server: Do53Server,
  message: Uint8Array,
  signal: AbortSignal,
): Promise<DirectResult> {
  const socket = await openTcp(toSocketAddress(server, port), STREAM_OPEN_MS_MAX);
  const end = (): void => void socket.destroy();
  signal.addEventListener("abort", end);
  try {
    if (signal.aborted) return { kind: "failed", reason: "given up" };
    socket.write(concatBytes(Uint8Array.of(message.length >> 8, message.length), message));
    let received: Uint8Array<ArrayBuffer> = new Uint8Array(0);
    for await (const chunk of socket) {
      received = concatBytes(received, chunk as Uint8Array);
      const length =
        received.length < TCP_LENGTH_BYTES ? undefined : ((received[0] ?? 0) << 8) | (received[1] ?? 0);
      if (length === undefined || received.length < TCP_LENGTH_BYTES + length) continue;
      if (length === 0) break;
      return { kind: "message", message: received.subarray(TCP_LENGTH_BYTES, TCP_LENGTH_BYTES + length) };
    }
    return { kind: "failed", reason: "the server closed the connection" };
  } finally {
    signal.removeEventListener("abort", end);
    socket.destroy();
  }
}
