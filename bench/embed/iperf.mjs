/**
 * iperf3's client over connections of the library, so that the far end is the same program as by TUN.
 *
 * A control connection and one for the data, each begun with the same cookie; the server leads by one octet per
 * state, to which the client answers by JSON behind its length (iperf3's `iperf_api.h`).
 */
import { randomBytes } from "node:crypto";

const PARAM_EXCHANGE = 9;
const CREATE_STREAMS = 10;
const TEST_START = 1;
const TEST_RUNNING = 2;
const TEST_END = 4;
const EXCHANGE_RESULTS = 13;
const DISPLAY_RESULTS = 14;
const IPERF_DONE = 16;
const ACCESS_DENIED = 255;
const COOKIE_CHARACTERS = 36;
const BLOCK_BYTES = 131_072;
const CHUNK_BYTES = 262_144;
const TRIES_MAX = 5;
const TRY_AGAIN_MS = 100;

/**
 * One stream for `seconds`.
 * @param direction `down`: the server sends
 * @returns octets that arrived, and how long that took; going up, as the server says
 */
export async function transfer(dial, { direction, seconds }) {
  const cookie = cookieOf();
  const isDown = direction === "down";
  let [stream, found] = [undefined, undefined];
  const { control, state: first } = await begin(dial, cookie);
  for (let state = first; ; state = await control.octet()) {
    if (state === PARAM_EXCHANGE) {
      await control.writeJson({
        ...{ tcp: true, omit: 0, time: seconds, num: 0, blockcount: 0, parallel: 1, len: BLOCK_BYTES },
        ...{ ...(isDown && { reverse: true }), pacing_timer: 1000, client_version: "3.12" },
      });
    } else if (state === CREATE_STREAMS) {
      stream = await dial();
      await writeOnce(stream, cookie);
    } else if (state === TEST_RUNNING) {
      found = await (isDown ? receive : send)(stream, seconds);
      await control.write(Uint8Array.of(TEST_END));
    } else if (state === EXCHANGE_RESULTS) {
      await control.writeJson(resultsOf(isDown ? found.bytes : 0, seconds));
      const { streams } = await control.json();
      if (isDown) found.retransmits = streams[0].retransmits;
      else found = { bytes: streams[0].bytes, seconds: streams[0].end_time - streams[0].start_time };
    } else if (state === DISPLAY_RESULTS) {
      await control.write(Uint8Array.of(IPERF_DONE));
      stream.abort();
      // The server is free for the next run when it has hung up.
      await control.untilEnd();
      return found;
    } else if (state !== TEST_START) {
      throw new Error(state === ACCESS_DENIED ? "iperf3 is busy" : `iperf3 went to state ${state}`);
    }
  }
}

/**
 * The control connection and the server's first state. Between two runs iperf3 closes its socket that listens and opens
 * another one: who came in between is reset.
 */
async function begin(dial, cookie) {
  for (let tries = 0; ; tries++) {
    const control = controlOf(await dial());
    try {
      await control.write(cookie);
      return { control, state: await control.octet() };
    } catch (error) {
      if (error.code !== "reset" || tries === TRIES_MAX) throw error;
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
    }
  }
}

function cookieOf() {
  const letters = "abcdefghijklmnopqrstuvwxyz234567";
  const text = Array.from(randomBytes(COOKIE_CHARACTERS), (octet) => letters[octet % letters.length]).join(
    "",
  );
  return new TextEncoder().encode(`${text}\0`);
}

/** Counts what comes in the time, from the first octet on, in memory of its own, as iperf3 does. */
async function receive(stream, seconds) {
  const reader = stream.readable.getReader({ mode: "byob" });
  const first = await reader.read(new Uint8Array(BLOCK_BYTES));
  const started = performance.now();
  const until = started + seconds * 1000;
  let [bytes, now, room] = [0, started, first.value.buffer];
  while (now < until) {
    const { value, done } = await reader.read(new Uint8Array(room));
    if (done) break;
    bytes += value.length;
    room = value.buffer;
    now = performance.now();
  }
  reader.releaseLock();
  return { bytes, seconds: (now - started) / 1000 };
}

async function send(stream, seconds) {
  const writer = stream.writable.getWriter();
  const chunk = new Uint8Array(CHUNK_BYTES);
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) await writer.write(chunk);
  writer.releaseLock();
  return undefined;
}

async function writeOnce(stream, bytes) {
  const writer = stream.writable.getWriter();
  await writer.write(bytes);
  writer.releaseLock();
}

function controlOf(socket) {
  const reader = socket.readable.getReader();
  let kept = new Uint8Array();
  async function take(count) {
    while (kept.length < count) {
      const { value, done } = await reader.read();
      if (done) throw new Error("iperf3 has hung up");
      kept = Buffer.concat([kept, value]);
    }
    const taken = kept.subarray(0, count);
    kept = kept.subarray(count);
    return taken;
  }
  return {
    write: (bytes) => writeOnce(socket, bytes),
    async writeJson(value) {
      const text = Buffer.from(JSON.stringify(value));
      const length = Buffer.alloc(4);
      length.writeUInt32BE(text.length);
      await writeOnce(socket, Buffer.concat([length, text]));
    },
    octet: async () => (await take(1))[0],
    async json() {
      const length = Buffer.from(await take(4)).readUInt32BE(0);
      return JSON.parse(Buffer.from(await take(length)).toString());
    },
    async untilEnd() {
      for (let isOver = false; !isOver; ) isOver = (await reader.read().catch(() => ({ done: true }))).done;
      socket.abort();
    },
  };
}

function resultsOf(bytes, seconds) {
  const stream = { id: 1, bytes, retransmits: -1, jitter: 0, errors: 0, packets: 0 };
  return {
    ...{ cpu_util_total: 0, cpu_util_user: 0, cpu_util_system: 0, sender_has_retransmits: -1 },
    streams: [{ ...stream, start_time: 0, end_time: seconds }],
  };
}
