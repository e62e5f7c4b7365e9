/** `postern gateway`: opens what the portal grants, and forwards it into its network (PG-68, PG-69). */
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import {
  enableForwarding,
  forwardingParameters,
  keepFirewall,
  readNetwork,
  tearDownFirewall,
} from "../../host/index.ts";
import type { TunnelGateway } from "../../tunnel/index.ts";
import { runPeer } from "../endpoint/peer.ts";
import type { PeerEmbedding, PeerRole } from "../endpoint/role.ts";
import type { ProgramIo } from "../io.ts";
import type { GatewayOptions } from "../options.ts";
import type { PlaneHost } from "../shell/index.ts";
import { gatewayRole } from "./gateway-role.ts";
import { openNames } from "./open-names.ts";

export function runGateway(
  options: GatewayOptions,
  io: ProgramIo,
  threads: PlaneThreads,
  embedding?: PeerEmbedding<TunnelGateway>,
): Promise<number> {
  const role = gatewayOnHost(options, io, embedding?.ca);
  return runPeer({ role, options, io, threads, embedding });
}

function gatewayOnHost(
  options: GatewayOptions,
  io: ProgramIo,
  ca: readonly string[] = [],
): PeerRole<TunnelGateway> {
  const log = io.log.scope("dns");
  let opened: PlaneHost | undefined;
  return {
    ...gatewayRole(
      { ...options, ca },
      {
        isHostOpen: options.hostAccess === "all",
        isLinkLocalAllowed: options.allowLinkLocal,
        openNameService(parts) {
          if (opened === undefined) throw new Error("the host is set up before the tunnel");
          return openNames({ kernel: opened.kernel, options, log }, parts);
        },
        areFlowsLogged: options.flowLogs,
      },
    ),
    setUpHost(host, undo, log) {
      opened = host;
      if (options.masquerade === "off") return { parameters: [], tables: [], isGuarded: false };
      // What a crash left behind goes first (D-22); the transaction itself is idempotent.
      undo.add("nft table", () => tearDownFirewall(log));
      const forwarding = enableForwarding(readNetwork(host.rtnetlink), log);
      const firewall = keepFirewall(host.kernel, host.tun.name, log);
      undo.add("watch of the nft table", () => firewall.close());
      firewall.setUp();
      return { parameters: forwardingParameters(forwarding), tables: [firewall], isGuarded: true };
    },
  };
}
