/**
 * What the two ends of `postern bench HOST` say to each other (PG-204).
 *
 * ```
 *   server:  postern-bench/1 NONCE            on every connection
 *   client:  REQUEST HMAC-SHA256(secret, NONCE + " " + REQUEST) in hexadecimal digits
 *              control                        lines: `ping` → `pong`; `udp` → `udp TOKEN`; `count` → `count N`; `end`
 *              up                             data until its end → `BYTES MS`
 *              down:SECONDS                   data until its end
 * ```
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { PosternError } from "../../base/index.ts";

export const GREETING = "postern-bench/1";
export const BENCH_PORT = 5202;
const WRITE_BYTES = 64 << 10;
export const TOKEN_BYTES = 16;
export const SECONDS_MAX = 60;
const LINE_MAX = 200;

export function sign(secret: string, nonce: string, request: string): string {
  return createHmac("sha256", secret).update(`${nonce} ${request}`).digest("hex");
}

export function isSigned(secret: string, nonce: string, request: string, signature: string): boolean {
  const expected = Buffer.from(sign(secret, nonce, request));
  const given = Buffer.from(signature);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Takes lines from a socket, and leaves what comes behind the last one that was asked for. */
export interface LineReader {
  /** @throws PosternError `bench-remote` when the connection ends, or says no line */
  next(): Promise<string>;
}

export function readLines(socket: Socket): LineReader {
  return {
    async next() {
      let line = "";
      for (;;) {
        const byte: Buffer | null = socket.read(1);
        if (byte === null) await readable(socket);
        else if (byte[0] === 0x0a) return line;
        else line += byte.toString("latin1");
        if (line.length > LINE_MAX) throw ended("it sends no line");
      }
    },
  };
}

function readable(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed || socket.readableEnded) return reject(ended("the connection has ended"));
    const settle = (end: () => void) => () => {
      for (const name of ["readable", "end", "close", "error"]) socket.off(name, listeners[name] ?? noop);
      end();
    };
    const fail = settle(() => reject(ended("the connection has ended")));
    const listeners: Record<string, () => void> = {
      readable: settle(resolve),
      end: fail,
      close: fail,
      error: fail,
    };
    for (const [name, listener] of Object.entries(listeners)) socket.on(name, listener);
  });
}

function noop(): void {}

function ended(why: string): PosternError {
  return new PosternError(
    "bench-remote",
    `the other end of the benchmark is gone: ${why}`,
    "start `postern bench serve` there again",
  );
}

/** Sends at the pace of the receiver, until it is told to end. @returns what ends it */
export function pump(socket: Socket): () => void {
  const chunk = Buffer.alloc(WRITE_BYTES);
  let isOver = false;
  const fill = (): void => {
    while (!isOver && socket.writable && socket.write(chunk)) {
      // The socket says when its buffer is full.
    }
  };
  socket.on("drain", fill);
  fill();
  return () => {
    isOver = true;
    socket.end();
  };
}

/** Counts what comes until the end. */
export function drain(socket: Socket): Promise<{ readonly bytes: number; readonly ms: number }> {
  return new Promise((resolve) => {
    let bytes = 0;
    const startedAt = performance.now();
    const finish = (): void => resolve({ bytes, ms: performance.now() - startedAt });
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.on("end", finish).on("close", finish);
    socket.resume();
  });
}
