/** One TCP connection of a client that asks: questions in, answers out as they come (DN-90). */
import { concatBytes, type IpAddress } from "../../base/index.ts";
import { HEADER_BYTES, TCP_LENGTH_BYTES, UNANSWERED_MAX } from "../../dns/index.ts";

const IDLE_MS = 10_000;

/** A question, and the way of its answer. */
export interface Asked {
  readonly transport: "udp" | "tcp";
  readonly client: IpAddress;
  readonly bytes: Uint8Array;
  /** `undefined`: what came is no question, and its connection is ended. */
  readonly reply: (answer: Uint8Array | undefined) => void;
}

/** The connection, of the host or of a stack without one. None of it calls back at once. */
export interface StreamWay {
  /** `false`: it waits here, and `drained` tells when it has left. */
  write(bytes: Uint8Array<ArrayBuffer>): boolean;
  pause(): void;
  resume(): void;
  /** No more answers. */
  end(): void;
  /** Nothing has been asked for a while. */
  close(): void;
  /** What came is no question. */
  abort(): void;
}

export interface QuestionStream {
  data(chunk: Uint8Array): void;
  drained(): void;
  /** No more questions. */
  ended(): void;
  closed(): void;
}

interface State {
  readonly client: IpAddress;
  readonly way: StreamWay;
  readonly onAsked: (asked: Asked) => void;
  unread: Uint8Array<ArrayBuffer>;
  unanswered: number;
  /** Who does not read answers gets no more of them to keep. */
  isStuck: boolean;
  /** An answer may come within the question. */
  isReading: boolean;
  hasEnded: boolean;
  isOver: boolean;
  idle: NodeJS.Timeout | undefined;
}

/** Several questions at a time, answers as they come. */
export function createQuestionStream(
  client: IpAddress,
  onAsked: (asked: Asked) => void,
  way: StreamWay,
): QuestionStream {
  const state: State = {
    ...{ client, way, onAsked, unread: new Uint8Array(0), unanswered: 0 },
    ...{ isStuck: false, isReading: false, hasEnded: false, isOver: false, idle: undefined },
  };
  awaitQuestion(state);
  return {
    data(chunk) {
      state.unread = concatBytes(state.unread, chunk);
      read(state);
    },
    drained() {
      state.isStuck = false;
      read(state);
    },
    ended() {
      state.hasEnded = true;
      endAnswered(state);
    },
    closed: () => finish(state),
  };
}

function awaitQuestion(state: State): void {
  clearTimeout(state.idle);
  state.idle = setTimeout(() => {
    // Who waits for an answer is not idle.
    if (state.unanswered > 0) return awaitQuestion(state);
    finish(state);
    state.way.close();
  }, IDLE_MS);
}

function read(state: State): void {
  if (state.isReading) return;
  state.isReading = true;
  while (!state.isOver && !isFull(state)) {
    const question = takeQuestion(state);
    if (question === undefined) break;
    state.unanswered++;
    awaitQuestion(state);
    const { client } = state;
    state.onAsked({
      transport: "tcp",
      client,
      bytes: question,
      reply: (answer) => reply(state, answer),
    });
  }
  state.isReading = false;
  if (state.isOver) return;
  if (isFull(state)) state.way.pause();
  else state.way.resume();
}

function takeQuestion(state: State): Uint8Array | undefined {
  const { unread } = state;
  if (unread.length < TCP_LENGTH_BYTES) return undefined;
  const length = ((unread[0] ?? 0) << 8) | (unread[1] ?? 0);
  const end = TCP_LENGTH_BYTES + length;
  if (length < HEADER_BYTES) {
    abort(state);
    return undefined;
  }
  if (unread.length < end) return undefined;
  state.unread = unread.subarray(end);
  return unread.subarray(TCP_LENGTH_BYTES, end);
}

function isFull({ unanswered, isStuck }: State): boolean {
  return unanswered >= UNANSWERED_MAX || isStuck;
}

function reply(state: State, answer: Uint8Array | undefined): void {
  if (state.isOver) return;
  if (answer === undefined) return abort(state);
  state.unanswered--;
  const framed = concatBytes(Uint8Array.of(answer.length >> 8, answer.length & 0xff), answer);
  if (!state.way.write(framed)) state.isStuck = true;
  read(state);
  endAnswered(state);
}

function endAnswered(state: State): void {
  if (state.hasEnded && state.unanswered === 0 && !state.isOver) state.way.end();
}

function abort(state: State): void {
  finish(state);
  state.way.abort();
}

function finish(state: State): void {
  state.isOver = true;
  clearTimeout(state.idle);
}
