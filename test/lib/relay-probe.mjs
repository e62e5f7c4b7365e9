/**
 * A relay in a program, in whatever runtime runs this: joins the portal, answers a STUN binding request, and ends
 * with nothing left. Prints one line of JSON.
 *
 *   API_URL=… TOKEN=… RUNTIME relay-probe.mjs PORT
 */
import { createSocket } from "node:dgram";
import { PosternError, startRelay } from "postern";

const { API_URL: apiUrl, TOKEN: token } = process.env;
const port = Number(process.argv[2]);
const base = { publicIp4: "127.0.0.1", bindIp4: "127.0.0.1", port };

/** What the relay answers to a binding request (RFC 8489 §5): type and transaction. */
function bind() {
  const request = new Uint8Array(20).fill(7);
  request.set([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
  const socket = createSocket("udp4");
  return new Promise((resolve) => {
    socket.on("message", (answer) => {
      socket.close();
      resolve({ type: answer.readUInt16BE(0), isOurs: answer.subarray(8, 20).every((byte) => byte === 7) });
    });
    socket.send(request, port, "127.0.0.1");
  });
}

async function serve(options) {
  const relay = await startRelay(options);
  const answer = await bind();
  const { ready } = relay.status();
  await relay.close();
  return { id: relay.id, answer, ready, closed: (await relay.closed).kind };
}

const codeOf = (promise) =>
  promise.then(
    () => "none",
    (error) => (error instanceof PosternError ? `${error.code} ${error.detail}` : String(error)),
  );

const found = {
  joined: await serve({ ...base, apiUrl, token: async () => token }),
  alone: await serve(base),
  half: await codeOf(startRelay({ ...base, apiUrl })),
  nowhere: await codeOf(startRelay({ port })),
};
console.log(JSON.stringify(found));
