/** A gateway with a TUN device, as a part of another program (PG-120): the host's kernel forwards what is granted. */
import type { TunnelGateway } from "../../tunnel/index.ts";
import type { GatewayOptions } from "../options.ts";
import { type HostPeer, type HostSetting, openHostPeer } from "./peer.ts";

/** @throws PosternError `privilege`, `in-use`, `host` and others of PG-14 */
export function openHostGateway(
  options: GatewayOptions,
  setting: HostSetting,
): Promise<HostPeer<TunnelGateway>> {
  return openHostPeer<TunnelGateway, typeof import("../gateway/run-gateway.ts")>({
    role: "gateway",
    setting,
    load: () => import("../gateway/run-gateway.ts"),
    run: ({ runGateway }, threads, embedding) => runGateway(options, setting.io, threads, embedding),
  });
}
