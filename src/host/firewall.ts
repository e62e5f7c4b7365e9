/**
 * Masquerading and forwarding rules of a gateway, by nftables (PG-69, PG-70).
 *
 * `nft` is run as a child, synchronously: once at start, once at stop, and in a crash's last moments,
 * when nothing asynchronous would be waited for.
 */
import { spawnSync } from "node:child_process";
import { formatPrefix, type Log, PosternError } from "../base/index.ts";
import { TUNNEL_V4, TUNNEL_V6 } from "./constants.ts";
import { helperEnvironment } from "./helper-programs.ts";

const NFT_MS_MAX = 10_000;
const OUTPUT_BYTES_MAX = 64 << 20;
const COMMENT = "postern";

/** A base chain of somebody else that drops what it does not accept. */
export interface DropChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/**
 * The table with its rules, in one transaction that replaces an earlier one.
 *
 * Address translation passes by what connection tracking has no state for: a wrong checksum, odd TCP
 * flags, a protocol that it cannot follow. The last chain, which runs after translation, drops what still
 * has a tunnel source then.
 */
export function gatewayRuleset(tunName: string): string {
  const device = quote(tunName);
  return `add table inet postern
delete table inet postern
table inet postern {
  counter untranslated {
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname ${device} accept
    oifname ${device} accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${formatPrefix(TUNNEL_V4)} oifname != { ${device}, "lo" } masquerade
    ip6 saddr ${formatPrefix(TUNNEL_V6)} oifname != { ${device}, "lo" } masquerade
  }
  chain untranslated {
    type filter hook postrouting priority srcnat + 1; policy accept;
    oifname { ${device}, "lo" } accept
    ip saddr ${formatPrefix(TUNNEL_V4)} counter name untranslated drop
    ip6 saddr ${formatPrefix(TUNNEL_V6)} counter name untranslated drop
  }
}
`;
}

/** Interface names may hold anything but white space and slashes; a quote would end the string. */
function quote(name: string): string {
  if (!/^[^\s"/\\]{1,15}$/.test(name))
    throw new PosternError("usage", `interface name '${name}' is not usable`);
  return `"${name}"`;
}

/**
 * Reads `nft -j list chains`: other base chains at hook forward with policy drop. An accept of ours does
 * not override their drop.
 */
export function foreignDropChains(chains: unknown): readonly DropChain[] {
  return elementsOf(chains, "chain").flatMap((chain) => {
    const { family, table, name, hook, policy } = chain;
    if (hook !== "forward" || policy !== "drop") return [];
    if (typeof family !== "string" || typeof table !== "string" || typeof name !== "string") return [];
    if (family === "inet" && table === "postern") return [];
    return [{ family, table, name }];
  });
}

/**
 * Where the accept rules go for a drop chain: iptables' own FORWARD, or the chain that Docker leaves to
 * others. `undefined`: a firewall whose rules are not ours to edit.
 */
export function acceptChain(drop: DropChain, chains: unknown): DropChain | undefined {
  const isIptables = (drop.family === "ip" || drop.family === "ip6") && drop.table === "filter";
  if (!isIptables || drop.name !== "FORWARD") return undefined;
  const hasDocker = elementsOf(chains, "chain").some(
    ({ family, table, name }) => family === drop.family && table === drop.table && name === "DOCKER-USER",
  );
  return hasDocker ? { ...drop, name: "DOCKER-USER" } : drop;
}

/** Elements of one kind in nft's JSON, whatever it is. */
function elementsOf(json: unknown, kind: string): readonly Readonly<Record<string, unknown>>[] {
  const list = isRecord(json) ? json["nftables"] : undefined;
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    const element = isRecord(entry) ? entry[kind] : undefined;
    return isRecord(element) ? [element] : [];
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/**
 * Sets up masquerading and forwarding; running it again changes nothing.
 *
 * @throws PosternError `host` when nft is missing or refuses
 */
export function setUpFirewall(tunName: string, log: Log): void {
  nft(["-f", "-"], gatewayRuleset(tunName));
  removeAcceptRules();
  const chains = nftJson(["list", "chains"]);
  const device = quote(tunName);
  for (const drop of foreignDropChains(chains)) {
    const chain = acceptChain(drop, chains);
    if (chain === undefined) {
      const { family, table, name } = drop;
      log.warn?.("another firewall drops forwarded packets", { chain: `${family} ${table} ${name}` });
      continue;
    }
    const at = `${chain.family} ${chain.table} ${chain.name}`;
    const lines = ["iifname", "oifname"].map(
      (side) => `insert rule ${at} ${side} ${device} counter accept comment "${COMMENT}"\n`,
    );
    nft(["-f", "-"], lines.join(""));
    log.info?.("accept rules inserted", { chain: at });
  }
}

/** Removes everything of ours; missing things are no error. Used at start, at stop and after crashes. */
export function tearDownFirewall(log: Log): void {
  try {
    // `add` first: deleting a table that is not there is an error.
    nft(["-f", "-"], "add table inet postern\ndelete table inet postern\n");
    removeAcceptRules();
  } catch (error) {
    log.debug?.("firewall not torn down", { reason: error instanceof Error ? error.message : String(error) });
  }
}

/** Deletes our rules in others' chains, found by their comment. */
function removeAcceptRules(): void {
  const lines = elementsOf(nftJson(["-a", "list", "ruleset"]), "rule").flatMap((rule) => {
    const { family, table, chain, handle, comment } = rule;
    if (comment !== COMMENT || table !== "filter") return [];
    return [`delete rule ${String(family)} ${String(table)} ${String(chain)} handle ${String(handle)}\n`];
  });
  if (lines.length > 0) nft(["-f", "-"], lines.join(""));
}

function nftJson(command: readonly string[]): unknown {
  const text = nft(["-j", ...command], "");
  return text === "" ? {} : JSON.parse(text);
}

/** Runs nft and returns its output. */
function nft(parameters: readonly string[], input: string): string {
  const child = spawnSync("nft", parameters, {
    input,
    env: helperEnvironment(),
    encoding: "utf8",
    timeout: NFT_MS_MAX,
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  if (child.error !== undefined) {
    const isMissing = "code" in child.error && child.error.code === "ENOENT";
    throw new PosternError(
      "host",
      isMissing ? "cannot set up masquerading: nft is not installed" : "cannot run nft",
      isMissing ? "install nftables, or use --masquerade off and set up forwarding yourself" : undefined,
      { cause: child.error },
    );
  }
  if (child.status !== 0) {
    const reason = child.stderr.trim().split("\n")[0] ?? "";
    throw new PosternError("host", `nft refused the rules: ${reason}`, "see 'nft list ruleset'");
  }
  return child.stdout;
}
