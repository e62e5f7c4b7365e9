/**
 * Odd configuration files, and what wg-quick and wg of Debian 12 make of each (WG-73): the same verdict and
 * the same interface here, or a listed difference that the program tells its user.
 * `test/vectors/wg-conf/observe.mjs` made the table; `test/interop/wg-quick.test.ts` makes it again.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  createSeededRandom,
  formatIp,
  formatPrefix,
  formatSocketAddress,
  instant,
  ip,
  type Prefix,
  SILENT,
  toBase64,
  unixMs,
} from "../../../src/base/index.ts";
import { planWgRoutes, wgMtu } from "../../../src/host/index.ts";
import { NO_ACTIVITY } from "../../../src/plane/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { createWgInterface, parseWgConfig, toSet, type WgConfig } from "../../../src/wg/index.ts";

interface Observed {
  readonly accepted: boolean;
  readonly why?: string;
}

interface Accepted {
  readonly accepted: true;
  readonly privateKey: string;
  readonly listenPort: number;
  readonly fwMark: number;
  readonly addresses: readonly string[];
  readonly mtu: number;
  readonly routes: readonly string[];
  readonly dns: readonly string[];
  readonly hooksUp: readonly string[];
  readonly hooksDown: readonly string[];
  readonly peers: readonly {
    readonly publicKey: string;
    readonly presharedKey: string;
    readonly endpoint: string;
    readonly allowedIps: readonly string[];
    readonly keepalive: number;
  }[];
}

const FOLDER = new URL("../../vectors/wg-conf/", import.meta.url);
const { files: TABLE } = JSON.parse(readFileSync(new URL("table.json", FOLDER), "utf8")) as {
  readonly files: Readonly<Record<string, Observed>>;
};
const NAMES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".conf"))
  .map((name) => name.slice(0, -".conf".length));

/** Where we differ, and the word of ours that says so. */
const DIFFERENCES: Readonly<Record<string, { readonly said: RegExp; readonly why: string }>> = {
  "endpoint-name-unknown": { said: /^name nowhere\.invalid$/, why: "the name is looked up again and again" },
  "endpoint-name-final-dot": { said: /^name localhost\.$/, why: "the name is looked up again and again" },
  "endpoint-underscore": { said: /^name local_host\.invalid$/, why: "the name is looked up again and again" },
  "endpoint-port-zero": { said: /port 0 is left out/, why: "nobody can be reached there" },
  "endpoint-port-65536": { said: /port 0 is left out/, why: "nobody can be reached there" },
  "peer-with-zero-key": { said: /^peer refused zero-dh$/, why: "no handshake with it can be safe (WG-6)" },
  "hook-fails": {
    said: /^hook false$/,
    why: "accepted as a file; the program runs the hook and ends with 1",
  },
};

/** As the lab of the table has it: a loopback device, and no route anywhere else. */
const HOST = {
  links: () => [{ index: 1, name: "lo", mtu: 65_536, isUp: true, isOperational: true, isLoopback: true }],
  routes: () => [],
  bestRoute: (to: Uint8Array) =>
    to[0] === 127 || to.every((byte) => byte === 0) ? { outputIndex: 1 } : undefined,
} as unknown as Parameters<typeof wgMtu>[0];
const HOST_NAMES = {
  portOf: (service: string) => ({ domain: 53 })[service],
  indexOf: (device: string) => ({ lo: 1 })[device],
};
const INDEX = 7;

/** The interface that a file makes, by the real machine, and everything that is said about the file. */
function interfaceOf(config: WgConfig): {
  readonly seen: Omit<Accepted, "accepted">;
  readonly said: string[];
} {
  const said = config.warnings.map(({ message }) => message);
  const log = {
    ...SILENT,
    warn: (event: string, fields?: object) => void said.push(`${event} ${reason(fields)}`),
  };
  const machine = createWgInterface({
    now: instant(1),
    unixMs: unixMs(1),
    random: createSeededRandom(1),
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: () => 0n,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
    crypto: createNodeCrypto(),
    log: { ...log, scope: () => log },
    peersMax: 16,
  });
  machine.set(instant(1), toSet(config));
  const allowedIps = config.peers.flatMap((peer) => peer.allowedIps);
  const table = typeof config.table === "object" ? tableOf(config.table.name) : config.table;
  const plan = planWgRoutes(
    { index: INDEX, table, addresses: config.addresses, allowedIps, mark: config.fwMark },
    51_820,
  );
  // wg-quick does not look at the device of a link-local endpoint, and does not read its scope.
  const endpoints = config.peers.flatMap(({ endpoint }) =>
    endpoint === undefined
      ? []
      : [{ address: endpoint.kind === "name" ? ip("127.0.0.1") : endpoint.address.address }],
  );
  for (const { endpoint } of config.peers) if (endpoint?.kind === "name") said.push(`name ${endpoint.host}`);
  for (const { command } of config.hooks) said.push(`hook ${command}`);
  const hooks = (...kinds: readonly string[]): string[] =>
    config.hooks
      .filter(({ kind }) => kinds.includes(kind))
      .map(({ command }) => command.replaceAll("%i", "wg0"));
  const privateKey = machine.privateKey();
  const seen = {
    privateKey: privateKey === undefined ? "(none)" : toBase64(clamp(privateKey)),
    listenPort: config.listenPort,
    fwMark: plan.mark ?? 0,
    addresses: config.addresses.map(({ address, bits }) => `${formatIp(address)}/${bits}`).sort(),
    mtu: config.mtu ?? wgMtu(HOST, endpoints),
    routes: plan.routes.map(({ destination, table }) => `${shown(destination)} ${tableName(table)}`).sort(),
    dns: [...config.dns],
    hooksUp: hooks("PreUp", "PostUp"),
    hooksDown: hooks("PreDown", "PostDown"),
    peers: machine.peers().map((peer, i) => ({
      publicKey: toBase64(peer.publicKey),
      presharedKey: peer.presharedKey === undefined ? "(none)" : toBase64(peer.presharedKey),
      endpoint:
        endpointText(config, i) ??
        (peer.endpoint === undefined ? "(none)" : formatSocketAddress(peer.endpoint)),
      allowedIps: peer.allowedIps.map(formatPrefix).sort(),
      keepalive: peer.keepaliveSeconds,
    })),
  };
  return { seen, said };
}

function reason(fields: object | undefined): string {
  return fields !== undefined && "reason" in fields ? String(fields.reason) : "";
}

/** wg clamps a private key before it hands it on. */
function clamp(key: Uint8Array): Uint8Array {
  return key.map((byte, i) => (i === 0 ? byte & 0xf8 : i === 31 ? (byte & 0x7f) | 0x40 : byte));
}

/** Names are resolved by the program: `localhost` is the only one that the table's machine knew. */
function endpointText(config: WgConfig, i: number): string | undefined {
  const endpoint = config.peers[i]?.endpoint;
  return endpoint?.kind === "name" ? `127.0.0.1:${endpoint.port}` : undefined;
}

function shown({ address, bits }: Prefix): string {
  if (bits === 0) return address.length === 4 ? "default4" : "default6";
  return bits === address.length * 8 ? formatIp(address) : formatPrefix({ address, bits });
}

function tableName(table: number): string {
  return { 253: "default", 254: "main", 255: "local" }[table] ?? `${table}`;
}

function tableOf(name: string): number {
  const number = { default: 253, main: 254, local: 255 }[name];
  if (number === undefined) throw new Error(`no table is called '${name}'`);
  return number;
}

/** What the two print differently for the same thing. */
function normal(seen: Omit<Accepted, "accepted">): Omit<Accepted, "accepted"> {
  const named = (line: string): string => line.replace(/^(nameserver|search) /, "");
  return {
    ...seen,
    // Search domains alone are not handed to resolvconf.
    dns: seen.dns.flatMap((line) => named(line).split(" ")).sort(),
    // Linux adds 0.0.0.0 to no device, and says nothing.
    addresses: seen.addresses.filter((address) => !address.startsWith("0.0.0.0/")),
    hooksUp: seen.hooksUp.filter((command) => command !== ""),
    hooksDown: seen.hooksDown.filter((command) => command !== ""),
    // wireguard-go of Debian 12 uses the scope of an endpoint but does not show it.
    peers: seen.peers
      .map((peer) => ({ ...peer, endpoint: peer.endpoint.replace(/%\d+/, "") }))
      .sort((a, b) => (a.publicKey < b.publicKey ? -1 : 1)),
  };
}

function judge(name: string): {
  readonly seen?: Omit<Accepted, "accepted">;
  readonly said: readonly string[];
} {
  const text = readFileSync(new URL(`${name}.conf`, FOLDER), "utf8");
  const result = parseWgConfig(text, HOST_NAMES);
  if (!result.ok) return { said: [`${result.line}: ${result.message}`] };
  try {
    return interfaceOf(result.value);
  } catch (error) {
    return { said: [String(error)] };
  }
}

describe("WG-73: what wg-quick makes of odd files", () => {
  it("every file has its line in the table, and there are many", () => {
    expect(Object.keys(TABLE).sort()).toEqual([...NAMES].sort());
    expect(NAMES.length).toBeGreaterThan(100);
  });

  it.each(NAMES.filter((name) => DIFFERENCES[name] === undefined))("%s", (name) => {
    const observed = TABLE[name];
    const { seen, said } = judge(name);
    if (observed?.accepted !== true) {
      expect(seen, `wg-quick: ${observed?.why}`).toBeUndefined();
      return;
    }
    const { accepted: _, ...theirs } = observed as Accepted;
    if (seen === undefined) throw new Error(`refused: ${said.join()}`);
    const { dns, ...ours } = normal(seen);
    const { dns: theirDns, ...expected } = normal(theirs);
    expect(ours).toEqual(expected);
    if (theirDns.length > 0) expect(dns).toEqual(theirDns);
  });

  it.each(Object.entries(DIFFERENCES))("%s differs, and that is said", (name, { said }) => {
    const judged = judge(name);
    expect(judged.said).toContainEqual(expect.stringMatching(said));
  });
});
