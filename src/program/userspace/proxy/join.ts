/** A socket of the host and a connection in the tunnel, joined both ways until both have ended. */
import type { Socket } from "node:net";
import type { TcpSocket } from "../face.ts";

export async function join(host: Socket, tunnel: TcpSocket): Promise<void> {
  host.on("error", (error) => tunnel.abort(error));
  host.on("close", (hadError) => {
    if (hadError || !host.readableEnded) tunnel.abort();
  });
  await Promise.all([toTunnel(host, tunnel), toHost(tunnel, host)]).catch(() => {
    tunnel.abort();
    if (host.writable) host.resetAndDestroy?.();
    host.destroy();
  });
}

async function toTunnel(host: Socket, { writable }: TcpSocket): Promise<void> {
  const writer = writable.getWriter();
  writer.closed.catch(() => {});
  // Iterating would destroy the socket at its end, with what is still to be sent.
  await new Promise<void>((resolve, reject) => {
    host.on("data", (bytes: Buffer) => {
      host.pause();
      writer.write(bytes).then(() => host.resume(), reject);
    });
    // It may have ended while the tunnel was dialled.
    if (host.readableEnded) return resolve();
    host.once("end", resolve);
    host.once("error", reject);
    host.once("close", () => reject(new Error("closed")));
    host.resume();
  });
  await writer.close();
}

async function toHost({ readable }: TcpSocket, host: Socket): Promise<void> {
  for await (const chunk of readable) {
    if (host.write(chunk)) continue;
    await new Promise<void>((resolve, reject) => {
      host.once("drain", resolve);
      host.once("close", () => reject(new Error("closed")));
    });
  }
  host.end();
}
