/** A TCP of the test's own on a host that only has time. */
import type { SocketAddress } from "../../../src/base/index.ts";
import { createTcpHost, type TcpEvent, type TcpHost } from "../../../src/tcp/index.ts";
import type { World } from "../../sim/world.ts";

export interface TcpOptions {
  readonly admits: (local: SocketAddress) => boolean;
  readonly send: (packet: Uint8Array) => void;
  readonly takeEvent: (tcp: TcpHost, event: TcpEvent) => void;
}

export interface SimulatedTcp extends TcpHost {
  /** Sends what is ready, and hands on what has come. */
  drain(): void;
  /** Its host is gone: nothing is said any more. */
  vanish(): void;
}

export function addTcpHost(world: World, name: string, options: TcpOptions): SimulatedTcp {
  const { admits, send, takeEvent } = options;
  const tcp = createTcpHost({
    random: world.random(`tcp/${name}`),
    admit: (local) => (admits(local) ? "accept" : "refuse"),
  });
  const host = world.addHost(name, { addresses: [] });
  const drain = (): void => {
    for (let event = tcp.pollEvent(); event !== undefined; event = tcp.pollEvent()) takeEvent(tcp, event);
    for (let packet = tcp.pollPacket(); packet !== undefined; packet = tcp.pollPacket()) send(packet);
  };
  host.program = {
    handleDatagram: () => {},
    handleTimeout: (now) => tcp.handleTimeout(now),
    pollTimeout: () => tcp.pollTimeout(),
    pollTransmit: () => undefined,
    drain,
  };
  return {
    ...tcp,
    drain,
    handlePacket(now, packet) {
      tcp.handlePacket(now, packet);
      // Sending from within the gateway's own turn would be a turn within a turn.
      world.at(0, drain);
    },
    vanish() {
      host.program = undefined;
    },
  };
}
