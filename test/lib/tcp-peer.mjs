/**
 * The kernel's TCP at the other end of a test: one connection that does what it is told, and says what became of it.
 *
 *   node tcp-peer.mjs '{"listen":["10.9.0.1",5000],"send":1000000}'
 *
 * `listen` or `connect`: address and port. `send`: octets of the pattern, then the end; absent: sends nothing, and ends
 * when the other has. `holdMs`: reads nothing for so long. `reset`: resets after so many octets. `endFirst`: ends at
 * once and goes on reading. `lastMs`: ends by itself after so long. Prints `listening`, then one line of JSON.
 */
import { connect, createServer } from "node:net";
import { isPattern, patternAt } from "./tcp-pattern.mjs";

const order = JSON.parse(process.argv[2] ?? "{}");
const CHUNK_BYTES = 1 << 18;

if (order.listen !== undefined) {
  const server = createServer(
    { allowHalfOpen: true, pauseOnConnect: order.holdMs !== undefined },
    (socket) => {
      server.close();
      serve(socket);
    },
  );
  server.listen({ host: order.listen[0], port: order.listen[1] }, () => console.log("listening"));
} else {
  const [host, port] = order.connect;
  const socket = connect({ host, port, allowHalfOpen: true });
  if (order.holdMs !== undefined) socket.pause();
  socket.once("connect", () => serve(socket));
  socket.once("error", (error) => say({ error: error.code }));
}

function serve(socket) {
  const told = { received: 0, isRight: true, hasEnded: false };
  socket.setNoDelay(true);
  socket.on("data", (bytes) => {
    told.isRight &&= isPattern(told.received, bytes);
    told.received += bytes.length;
    if (order.reset !== undefined && told.received >= order.reset) socket.resetAndDestroy();
  });
  socket.on("end", () => {
    told.hasEnded = true;
    if (order.send === undefined) socket.end();
  });
  socket.on("error", (error) => {
    told.error = error.code;
  });
  socket.on("close", () => say(told));
  if (order.holdMs !== undefined) {
    socket.pause();
    setTimeout(() => socket.resume(), order.holdMs);
  }
  if (order.endFirst) socket.end();
  if (order.lastMs !== undefined) setTimeout(() => socket.end(), order.lastMs);
  if (order.send !== undefined) send(socket, order.send);
}

function send(socket, octets) {
  let sent = 0;
  const more = () => {
    while (sent < octets) {
      const bytes = patternAt(sent, Math.min(CHUNK_BYTES, octets - sent));
      sent += bytes.length;
      if (!socket.write(bytes)) return void socket.once("drain", more);
    }
    socket.end();
  };
  more();
}

function say(told) {
  console.log(JSON.stringify(told));
}
