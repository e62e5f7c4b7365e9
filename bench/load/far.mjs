/** The gateway, its portal and what the clients talk to, in a namespace of their own; the clients' is empty. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { MAIN } from "../tunnel/arms.mjs";
import { WITH_FILES } from "./herd.mjs";

const SERVERS = join(ROOT, "bench", "load", "servers.mjs");
const LISTEN = "10.9.0.2:8080";
export const RESOURCE = "172.20.0.1";
const WITHIN_MS = 20_000;

const PORTAL_FILE = `version: 1
resources:
  - { name: Far, type: cidr, address: 172.20.0.0/16, site: default }
  - { name: Names, type: dns, address: "*.load.example", site: default }
policies: [{ group: dev, resource: Far }, { group: dev, resource: Names }]
`;

/**
 * @param more the portal's file in place of the usual one, and client tokens of it in place of the portal's own; the
 *   gateway's program, if it is another build's
 */
export async function openFar(lab, runtime, { portalFile = PORTAL_FILE, clientTokens, program = MAIN } = {}) {
  const [near, far] = [await lab.add("near"), await lab.add("far")];
  await lab.connect(
    { namespace: near, device: "wan", addresses: ["10.9.0.1/24"] },
    { namespace: far, device: "wan", addresses: ["10.9.0.2/24"] },
  );
  await far.ip(`addr add ${RESOURCE}/32 dev lo`);
  writeFileSync(join(far.runFolder, "portal.yaml"), portalFile);
  const portal = far.start({
    name: "portal",
    command: "sh",
    args: [
      "-c",
      WITH_FILES,
      runtime.path,
      MAIN,
      "portal",
      "--dev",
      "--dev-insecure",
      "--listen",
      LISTEN,
      "--config",
      "/run/portal.yaml",
    ],
  });
  await portal.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const tokenOf = async (role) =>
    (await portal.waitForLine(new RegExp(`^${role}_TOKEN=(.+)$`), { withinMs: 1000 }))[1];
  const [clientToken, gatewayToken] = [clientTokens ?? (await tokenOf("CLIENT")), await tokenOf("GATEWAY")];
  const servers = far.start({ name: "servers", command: process.execPath, args: [SERVERS, RESOURCE] });
  await servers.waitForLine(/^serving$/, { withinMs: WITHIN_MS });
  const startGateway = async () => {
    const gateway = far.start({
      name: "gateway",
      command: runtime.path,
      args: [program, "gateway", "--api-url", `ws://${LISTEN}`, "--id", "load-gateway"],
      env: { ...process.env, POSTERN_TOKEN: gatewayToken },
    });
    await gateway.waitForLine(/INFO postern: ready /, { withinMs: WITHIN_MS });
    return gateway;
  };
  return { near, far, url: `ws://${LISTEN}`, clientToken, portal, startGateway };
}
