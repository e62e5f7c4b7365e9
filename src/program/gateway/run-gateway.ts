/** `postern gateway`: opens what the portal grants, and forwards it into its network (PG-68, PG-69). */
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { unixMs } from "../../base/index.ts";
import {
  enableForwarding,
  forwardingParameters,
  keepFirewall,
  readNetwork,
  tearDownFirewall,
} from "../../host/index.ts";
import { gatewayChannel } from "../../portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../tunnel/index.ts";
import { runPeer } from "../endpoint/peer.ts";
import { createPortalLink } from "../endpoint/portal-link.ts";
import type { PeerRole } from "../endpoint/role.ts";
import type { ProgramIo } from "../io.ts";
import type { GatewayOptions } from "../options.ts";

export function runGateway(options: GatewayOptions, io: ProgramIo, threads: PlaneThreads): Promise<number> {
  return runPeer(gatewayRole(options), options, io, threads);
}

function gatewayRole(options: GatewayOptions): PeerRole<TunnelGateway> {
  return {
    name: "gateway",
    createMachine: (connections, log) =>
      createTunnelGateway({ connections, isHostOpen: false, log: log.scope("tunnel") }),
    setUpHost(host, undo, log) {
      if (options.masquerade === "off") return { parameters: [], tables: [], isGuarded: false };
      // What a crash left behind goes first (D-22); the transaction itself is idempotent.
      undo.add("nft table", () => tearDownFirewall(log));
      const forwarding = enableForwarding(readNetwork(host.rtnetlink), log);
      const firewall = keepFirewall(host.tun.name, log);
      firewall.setUp();
      return { parameters: forwardingParameters(forwarding), tables: [firewall], isGuarded: true };
    },
    wire(parts) {
      const { machine, log } = parts;
      return createPortalLink({
        parts,
        component: "gateway",
        channel: gatewayChannel,
        maxPartitionTime: options.maxPartitionTime,
        caFile: options.caFile,
        handleMessage: (now, message) => machine.handlePortalMessage(now, message, unixMs(Date.now())),
        drainEvents(_now, request) {
          for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
            if (event.kind === "request") request(event.request);
            else if (event.kind === "interface") parts.applyInterface(event.interface);
            else log.info?.(`client ${event.kind}`, { cid: event.cid });
          }
        },
      });
    },
  };
}
