/**
 * A client or gateway of the library in a process that can be stopped; `test/system/embedded-standstill.test.ts` does it.
 * Prints what it logs, and as a client a line for each echo.
 *
 *   API_URL=… TOKEN=… standstill-probe.mjs client|gateway plain|fast ADDRESS
 */
import { connectClient, startGateway } from "postern";

const { API_URL: apiUrl, TOKEN: token } = process.env;
const [, , role, sockets, host] = process.argv;
const options = {
  ...{ apiUrl, token, id: role, addresses: ["127.0.0.1"], sockets, logFilter: "info" },
  log: ({ event, fields }) => console.log(event, JSON.stringify(fields)),
};
const PAUSE_MS = 100;

async function serve() {
  await startGateway({
    ...options,
    async onFlow(flow) {
      const socket = await flow.accept();
      await socket.readable.pipeTo(socket.writable).catch(() => {});
    },
  });
  console.log("serving");
}

/** One connection, over which an octet goes and comes back, again and again. */
async function ask() {
  const client = await connectClient(options);
  const socket = await client.dial({ host, port: 7 });
  const [writer, reader] = [socket.writable.getWriter(), socket.readable.getReader()];
  for (;;) {
    await writer.write(Uint8Array.of(1));
    await reader.read();
    console.log("echo");
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

await (role === "gateway" ? serve() : ask());
