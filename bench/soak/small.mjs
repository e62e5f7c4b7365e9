/**
 * Small requests and DNS queries through a tunnel, for as long as it runs: a line of JSON behind each second, whose
 * answers it counts. Each request is a connection of its own.
 *
 *   node small.mjs ADDRESS SENTINEL
 */
import { createSocket } from "node:dgram";
import { get } from "node:http";

const [address, sentinel] = process.argv.slice(2);
const EVERY_MS = 100;
/** As long as a TCP connection may be held up by a fault (TS-17). */
const REQUEST_MS_MAX = 25_000;
const QUERY_MS_MAX = 5_000;
/** What waits; beyond it nothing more is asked, and counts as failed. */
const OUTSTANDING_MAX = 300;
const NAMES = 1000;

const fresh = () => ({ ok: 0, failed: 0, slowestMs: 0 });
let second = { at: Date.now(), http: fresh(), dns: fresh() };
let number = 0;

function noteOf(kind, begun) {
  return (isOk) => {
    const count = second[kind];
    if (!isOk) count.failed++;
    else {
      count.ok++;
      count.slowestMs = Math.max(count.slowestMs, Math.round(performance.now() - begun));
    }
  };
}

let requests = 0;
function request() {
  const note = noteOf("http", performance.now());
  if (requests >= OUTSTANDING_MAX) return note(false);
  requests++;
  const end = (isOk) => {
    requests--;
    note(isOk);
  };
  const asked = get({ host: address, agent: false, timeout: REQUEST_MS_MAX }, (response) => {
    response.resume().once("end", () => response.complete && end(true));
  });
  asked.once("timeout", () => asked.destroy(new Error("too slow")));
  asked.once("error", () => end(false));
}

const queries = new Map();
const socket = createSocket("udp4");
socket.on("message", (message) => {
  const id = message.readUInt16BE(0);
  // An answer without a record is none.
  if (message.readUInt16BE(6) > 0) queries.get(id)?.note(true);
  queries.delete(id);
});
socket.on("error", () => {});

function query() {
  const begun = performance.now();
  const id = number % 0x10000;
  queries.set(id, { begun, note: noteOf("dns", begun) });
  const head = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const labels = [`host-${number % NAMES}`, "load", "example"].map((label) =>
    Buffer.concat([Buffer.of(label.length), Buffer.from(label)]),
  );
  socket.send(Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])]), 53, sentinel, () => {});
  for (const [old, { begun: since, note }] of queries) {
    if (begun - since < QUERY_MS_MAX) break;
    note(false);
    queries.delete(old);
  }
}

setInterval(() => {
  number++;
  request();
  query();
}, EVERY_MS);
setInterval(() => {
  console.log(JSON.stringify(second));
  second = { at: Date.now(), http: fresh(), dns: fresh() };
}, 1000);
