/**
 * A connection of the stack for whoever hands its octets on (PG-125): without streams, without promises.
 *
 * What the stack tells within a turn is acted upon behind it, in one go: no code of a program runs within a turn.
 */
import { Buffer } from "node:buffer";
import { formatIp, PosternError, type SocketAddress } from "../../base/index.ts";
import type { TcpEnd } from "../../stack/index.ts";
import type { Engine } from "./engine.ts";
import type { Addr } from "./face.ts";
import { createUnread, type Unread } from "./unread.ts";

/** What a connection hears of the stack. */
export interface TcpHandle {
  /** Borrows `bytes` for the time of the call. */
  data(bytes: Uint8Array): void;
  ended(): void;
  writable(): void;
  closed(reason: TcpEnd | "closed"): void;
}

export interface TcpParts {
  readonly engine: Pick<Engine, "withStack">;
  readonly id: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

/** Whom the octets are for. */
export interface RawReader {
  /** Takes as much as it likes, and at least one octet. @returns how many */
  take(unread: Unread): number;
  /** The peer has no more to say, and all was taken. */
  ended(): void;
  /** Nothing more goes either way, and it was not both ends' wish. */
  failed(error: PosternError): void;
}

export type Done = (error?: PosternError) => void;

export interface RawTcp {
  readonly local: Addr;
  readonly remote: Addr;
  /** When nothing goes either way any more. */
  readonly closed: Promise<void>;
  /** Once; until then, what comes waits. */
  open(reader: RawReader): void;
  /** The reader takes once what is there, or what is next to come. */
  want(): void;
  /** `done` when all of it is in the send buffer; copies. */
  write(chunk: Uint8Array, done: Done): void;
  /** FIN, behind all that was written. */
  end(done: Done): void;
  /** RST. */
  abort(reason?: unknown): void;
  setKeepAlive(ms: number): void;
}

interface State extends TcpParts {
  readonly unread: Unread;
  readonly settle: () => void;
  reader: RawReader | undefined;
  /** The reader waits for octets. */
  isWanted: boolean;
  /** What the stack has told is acted upon behind this turn. */
  isDue: boolean;
  hasEnded: boolean;
  hasRoom: boolean;
  gone: TcpEnd | "closed" | undefined;
  isReadable: boolean;
  /** Who waits for room in the send buffer. */
  resume: (() => void) | undefined;
  end: TcpEnd | "closed" | undefined;
  reason: unknown;
}

export function createRawTcp(parts: TcpParts): { readonly raw: RawTcp; readonly handle: TcpHandle } {
  let settle = (): void => {};
  const closed = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const state: State = {
    ...parts,
    ...{ unread: createUnread(), settle, reader: undefined, isWanted: false, isDue: false, hasEnded: false },
    ...{ hasRoom: false, gone: undefined, isReadable: true },
    ...{ resume: undefined, end: undefined, reason: undefined },
  };
  return { raw: faceOf(state, closed), handle: handleOf(state) };
}

function faceOf(state: State, closed: Promise<void>): RawTcp {
  const { engine, id, local, remote } = state;
  return {
    ...{ local: toAddr(local), remote: toAddr(remote), closed },
    open(reader) {
      state.reader = reader;
      if (isBroken(state)) fail(state);
    },
    want() {
      state.isWanted = true;
      deliver(state);
    },
    write: (chunk, done) => write(state, copyFor(chunk), done),
    end(done) {
      if (isBroken(state)) return done(errorOf(state));
      if (state.end === undefined) engine.withStack((stack, now) => stack.end(now, id));
      done();
    },
    abort(reason) {
      if (state.end !== undefined) return;
      state.reason = reason;
      engine.withStack((stack, now) => stack.abort(now, id));
      close(state, "closed");
    },
    setKeepAlive: (ms) =>
      engine.withStack((stack, now) => stack.keepAlive(now, id, ms === 0 ? undefined : ms)),
  };
}

function handleOf(state: State): TcpHandle {
  return {
    data(bytes) {
      state.unread.push(bytes);
      if (state.isWanted) actSoon(state);
    },
    ended() {
      state.hasEnded = true;
      actSoon(state);
    },
    writable() {
      state.hasRoom = true;
      actSoon(state);
    },
    closed(reason) {
      state.gone = reason;
      // A reset takes with it what nobody waits for.
      if (!state.isWanted && isBroken({ end: reason, hasEnded: state.hasEnded })) state.unread.clear();
      actSoon(state);
    },
  };
}

export function toAddr({ address, port }: SocketAddress): Addr {
  return { address: formatIp(address), port };
}

/** Whoever reads gets all of a turn at once: fewer pieces, and full ones. */
function actSoon(state: State): void {
  if (state.isDue) return;
  state.isDue = true;
  queueMicrotask(() => {
    state.isDue = false;
    act(state);
  });
}

/** What has come before the end in the same turn is still whose who waits for it. */
function act(state: State): void {
  deliver(state);
  if (state.hasRoom) {
    state.hasRoom = false;
    state.resume?.();
  }
  if (state.gone !== undefined) close(state, state.gone);
}

function deliver(state: State): void {
  const { reader, unread, engine, id } = state;
  if (reader === undefined || !state.isReadable) return;
  if (state.isWanted && !unread.isEmpty()) {
    state.isWanted = false;
    const octets = reader.take(unread);
    engine.withStack((stack, now) => stack.take(now, id, octets));
    return;
  }
  if (!state.hasEnded || !unread.isEmpty()) return;
  state.isReadable = false;
  reader.ended();
}

/** The stack sends from it until it is acknowledged; whoever wrote it may use its own again. */
function copyFor(chunk: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(chunk.length);
  copy.set(chunk);
  return copy;
}

function write(state: State, bytes: Uint8Array, done: Done): void {
  if (state.end !== undefined) return done(errorOf(state));
  const taken = state.engine.withStack((stack, now) => stack.send(now, state.id, bytes));
  if (taken === bytes.length) return done();
  state.resume = () => {
    state.resume = undefined;
    write(state, bytes.subarray(taken), done);
  };
}

function close(state: State, end: TcpEnd | "closed"): void {
  if (state.end !== undefined) return;
  state.end = end;
  state.settle();
  state.resume?.();
  if (isBroken(state)) fail(state);
}

/** Closed, and not because both sides had said all they had to say. */
function isBroken({ end, hasEnded }: Pick<State, "end" | "hasEnded">): boolean {
  return end !== undefined && !(end === "done" && hasEnded);
}

function fail(state: State): void {
  if (state.reader === undefined) return;
  state.isReadable = false;
  state.unread.clear();
  state.reader.failed(errorOf(state));
}

const MESSAGES: Readonly<Record<TcpEnd | "closed", string>> = {
  done: "the connection is closed",
  closed: "the connection was closed by this side",
  reset: "the connection was reset by the other side",
  timeout: "the other side does not answer any more",
  refused: "the connection was refused",
  prohibited: "access was taken away",
  unreachable: "the other side is not reachable any more",
};

function errorOf({ end = "closed", reason, remote }: State): PosternError {
  return endError({ end, reason, remote });
}

/** Why nothing goes either way any more. */
export function endError({
  end,
  reason,
  remote,
}: {
  readonly end: TcpEnd | "closed";
  readonly reason?: unknown;
  readonly remote: SocketAddress;
}): PosternError {
  const code = end === "done" ? "closed" : end;
  const { address, port } = toAddr(remote);
  return new PosternError(code, `${address} port ${port}: ${MESSAGES[end]}`, undefined, {
    ...(reason !== undefined && { cause: reason }),
  });
}
