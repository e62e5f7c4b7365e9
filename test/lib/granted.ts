/** Starts `granted-client.mjs` with wireguard-go behind it: a client whose owner may send anything. */
import { join } from "node:path";
import { toHex } from "../../src/base/index.ts";
import type { Namespace } from "../../src/program/lab/index.ts";
import { eventually } from "./observe.ts";
import { API_URL, type Office } from "./office.ts";

const GRANTED = join(import.meta.dirname, "granted-client.mjs");
const INJECT = join(import.meta.dirname, "inject.mjs");
const ADDRESS = "10.66.0.2";
const PORT = 52_700;
const WG_PORT = 51_820;

export interface Granted {
  readonly where: Namespace;
  readonly own4: string;
  readonly own6: string;
  readonly gateway4: string;
  readonly gateway6: string;
  readonly resources: Readonly<Record<string, string>>;
  /** Sends IP packets through the tunnel to the gateway as they are. */
  send(packets: readonly Uint8Array[]): Promise<void>;
}

export async function startGranted(office: Office, ...resources: readonly string[]): Promise<Granted> {
  const where = await addMachine(office);
  const env = { ...process.env, WG_PROCESS_FOREGROUND: "1" };
  where.start({ name: "wireguard-go", command: "wireguard-go", args: ["-f", "wg0"], env });
  const args = [API_URL, office.tokens.client, ADDRESS, String(PORT), String(WG_PORT), ...resources];
  const client = where.start({ name: "granted", command: process.execPath, args: [GRANTED, ...args] });
  const [line] = await client.waitForLine(/^\{.*\}$/, { withinMs: 20_000, stream: "stdout" });
  const { gatewayKey, ...found } = JSON.parse(line) as Omit<Granted, "where" | "send"> & {
    gatewayKey: string;
  };
  const own = ["private-key", "/run/granted.key", "listen-port", String(WG_PORT)];
  const keys = ["peer", gatewayKey, "preshared-key", "/run/granted.psk", "allowed-ips", "0.0.0.0/0,::/0"];
  const way = ["endpoint", `127.0.0.1:${PORT + 1}`];
  await eventually(() => where.run("wg", ["set", "wg0", ...own, ...keys, ...way]));
  await where.ip(
    "link set wg0 mtu 1400 up",
    `addr add ${found.own4}/32 dev wg0`,
    `addr add ${found.own6}/128 dev wg0 nodad`,
  );
  return {
    ...found,
    where,
    async send(packets) {
      await where.run(process.execPath, [INJECT, "wg0", ...packets.map(toHex)]);
    },
  };
}

/** One that answers each of the gateway's checks with an error, and makes none itself. */
export async function startRefusing(office: Office, resource: string): Promise<void> {
  const where = await addMachine(office);
  const args = [GRANTED, API_URL, office.tokens.client, ADDRESS, String(PORT), "refuse", resource];
  where.start({ name: "refusing", command: process.execPath, args });
}

async function addMachine({ lab, router }: Office): Promise<Namespace> {
  const where = await lab.add("granted");
  await lab.connect(
    { namespace: where, device: "wan", addresses: [`${ADDRESS}/24`] },
    { namespace: router, device: "granted", addresses: ["10.66.0.1/24"] },
  );
  await where.ip("route add default via 10.66.0.1");
  return where;
}
