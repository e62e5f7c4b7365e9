/** Sockets for DNS queries, of the runtime (DN-61 to DN-65): a new one for each, so that its port is a secret, too. */
import { createSocket, type Socket } from "node:dgram";
import type { QuerySockets } from "../../../bindings/linux/index.ts";
import { formatIp } from "../../base/index.ts";
import type { DirectResult } from "../../dns/index.ts";

export function openRuntimeQueries(onOutcome: (token: number, outcome: DirectResult) => void): QuerySockets {
  const open = new Map<number, Socket>();

  function forget(token: number): void {
    open.get(token)?.close();
    open.delete(token);
  }

  return {
    ask(token, { address, port, scope }, message) {
      const socket = createSocket(address.length === 4 ? "udp4" : "udp6");
      open.set(token, socket);
      const tell = (outcome: DirectResult): void => {
        if (open.get(token) === socket) onOutcome(token, outcome);
      };
      socket.on("error", (error) => tell({ kind: "failed", reason: error.message }));
      socket.on("message", (bytes) => tell({ kind: "message", message: new Uint8Array(bytes) }));
      // Only what comes from there is received.
      socket.connect(port, formatIp(address) + (scope === undefined ? "" : `%${scope}`), () => {
        if (open.get(token) === socket) socket.send(message);
      });
    },
    forget,
    close() {
      for (const token of [...open.keys()]) forget(token);
    },
  };
}
