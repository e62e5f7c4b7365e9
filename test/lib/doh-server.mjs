/**
 * A server of DNS over HTTPS whose answers are what the first label of the question says.
 *
 *   node doh-server.mjs ADDRESS FOLDER ANSWER     with `key` and `crt` in the folder; `right` is answered with that
 *                                                 IPv4 address; prints `asked LABEL`
 */
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import { join } from "node:path";

const [own = "", folder = "", address = ""] = process.argv.slice(2);
const DNS = "application/dns-message";
const MIB = 1 << 20;

/** The answer with one address, or with something wrong. */
function answer(query, change = () => undefined) {
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)]);
  const message = Buffer.concat([query.subarray(0, query.indexOf(0, 12) + 5), record]);
  message.writeUInt16BE(0x8180, 2);
  message.writeUInt16BE(1, 6);
  message.writeUInt32BE(0, 8);
  change(message);
  return message;
}

/** How each answer comes. */
const ANSWERS = {
  right: (to, query) => reply(to, 200, DNS, answer(query)),
  nothing: (to) => reply(to, 204, DNS, Buffer.alloc(0)),
  page: (to) => reply(to, 200, "text/html", Buffer.from("<!doctype html>")),
  broken: (to, query) => reply(to, 500, DNS, answer(query)),
  elsewhere: (to, query) => {
    to.writeHead(302, { location: "https://198.51.100.66/dns-query", "content-type": DNS });
    to.end(answer(query));
  },
  huge: (to) => reply(to, 200, DNS, Buffer.alloc(MIB)),
  endless: (to) => {
    to.writeHead(200, { "content-type": DNS });
    const timer = setInterval(() => to.write(Buffer.alloc(100)), 50);
    to.on("close", () => clearInterval(timer));
  },
  never: () => undefined,
  torn: (to) => to.stream.close(2),
  short: (to, query) => reply(to, 200, DNS, answer(query).subarray(0, -3)),
  numbered: (to, query) =>
    reply(
      to,
      200,
      DNS,
      answer(query, (message) => message.writeUInt16BE(7, 0)),
    ),
  other: (to, query) =>
    reply(
      to,
      200,
      DNS,
      answer(query, (message) => message.writeUInt8(0x7a, 14)),
    ),
  query: (to, query) =>
    reply(
      to,
      200,
      DNS,
      answer(query, (message) => message.writeUInt16BE(0x0100, 2)),
    ),
};

function reply(to, status, type, body) {
  to.writeHead(status, { "content-type": type });
  to.end(body);
}

const files = { key: readFileSync(join(folder, "key")), cert: readFileSync(join(folder, "crt")) };
const server = createSecureServer(files, (request, response) => {
  const query = Buffer.from(new URL(request.url, "https://host").searchParams.get("dns") ?? "", "base64url");
  const label = query.toString("latin1", 13, 13 + query.readUInt8(12));
  console.log(`asked ${label}`);
  response.on("error", () => undefined);
  (ANSWERS[label] ?? ANSWERS.right)(response, query);
});
server.on("sessionError", () => undefined);
server.listen(443, own, () => console.log("listening"));
