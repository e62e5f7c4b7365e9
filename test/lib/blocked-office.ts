/** An office whose relay takes TLS, behind routers that do not let everything pass (TS-30.7). */
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { createOffice, type Office } from "./office.ts";

const VECTORS = join(import.meta.dirname, "../vectors/portal");
const CERTIFICATE = join(VECTORS, "localhost.crt");
const TLS = [
  ...["--tls-listen", "203.0.113.101:443"],
  ...["--tls-cert", CERTIFICATE, "--tls-key", join(VECTORS, "localhost.key")],
];

/** As nftables has it. */
export const NO_UDP = "meta l4proto udp drop";
export const NO_TLS = "tcp dport 443 reject with tcp reset";

export interface BlockedOffice {
  readonly office: Office;
  readonly relay: Child;
  readonly client: Child;
}

/** From now on a router does not forward what these rules name. */
export async function block(router: Namespace, ...rules: readonly string[]): Promise<void> {
  const chain = `chain forward {\ntype filter hook forward priority -200\n${rules.join("\n")}\n}`;
  await router.run("nft", ["--", `table inet blocked {\n${chain}\n}\n`]);
}

export async function unblock(router: Namespace): Promise<void> {
  await router.run("nft", ["delete", "table", "inet", "blocked"]);
}

/** Both ends behind port-restricted cones; `prepare` comes before they are started. */
export async function startBlocked(
  keep: (office: Office) => void,
  prepare: (office: Office) => Promise<void>,
): Promise<BlockedOffice> {
  const nat = { kind: "port-restricted" } as const;
  const families = { client: "ipv4", gateway: "ipv4" } as const;
  const office = await createOffice({ nats: { client: nat, gateway: nat, families }, relays: 1 });
  keep(office);
  office.configure([{ resource: "Office" }]);
  await office.startPortal();
  const relay = await office.startRelay(0, ...TLS);
  const server = office.traffic(office.resource, "serve", "80");
  await prepare(office);
  await office.startGateway("--ca-file", CERTIFICATE);
  const client = await office.startClient("--ca-file", CERTIFICATE);
  await server.waitForLine(/^serving (\S+)$/, { withinMs: 10_000 });
  return { office, relay, client };
}
