/**
 * Masquerading and forwarding rules of a gateway, by nftables (PG-69, PG-70).
 *
 * `nft` is run as a child, synchronously: once at start, once at stop, and in a crash's last moments,
 * when nothing asynchronous would be waited for.
 */
import { formatPrefix, type Log, PosternError, TUNNEL_V4, TUNNEL_V6 } from "../base/index.ts";
import { isNftMissing, nft, nftLater, quoteInterface } from "./nft.ts";

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
 * has a tunnel source then. An address of the leaving device is none: the host's own network may lie in
 * that range (TN-16).
 */
export function gatewayRuleset(tunName: string): string {
  const device = quoteInterface(tunName);
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
    fib saddr . oif type local accept
    ip saddr ${formatPrefix(TUNNEL_V4)} counter name untranslated drop
    ip6 saddr ${formatPrefix(TUNNEL_V6)} counter name untranslated drop
  }
}
`;
}

/**
 * Reads what `nft -j` lists: other base chains at hook forward with policy drop. An accept of ours does
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
  const chains = listRuleset();
  removeAcceptRules(chains);
  const device = quoteInterface(tunName);
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

/**
 * Chains of others that drop forwarded packets, and whether the gateway can put its rules there (PG-70).
 *
 * @throws PosternError `host` when nft is missing or refuses
 */
export function listDropChains(): readonly { readonly name: string; readonly isOurs: boolean }[] {
  const text = nft(["-j", "list", "chains"], "");
  const chains: unknown = text === "" ? {} : JSON.parse(text);
  return foreignDropChains(chains).map((drop) => ({
    name: `${drop.family} ${drop.table} ${drop.name}`,
    isOurs: acceptChain(drop, chains) !== undefined,
  }));
}

/**
 * Whether the accept rules are in every chain that needs them. Others may have made a chain anew since, or a
 * first one.
 */
export async function hasAcceptRules(tunName: string): Promise<boolean> {
  const text = await nftLater(["-j", "list", "chains"]);
  if (text === undefined) return false;
  const chains: unknown = JSON.parse(text);
  for (const drop of foreignDropChains(chains)) {
    const chain = acceptChain(drop, chains);
    if (chain === undefined) continue;
    const rules = await nftLater(["list", "chain", chain.family, chain.table, chain.name]);
    const ours = (rules ?? "").split("\n").filter((line) => line.includes(`comment "${COMMENT}"`));
    const device = quoteInterface(tunName);
    if (!["iifname", "oifname"].every((side) => ours.some((line) => line.includes(`${side} ${device}`)))) {
      return false;
    }
  }
  return true;
}

/**
 * Removes everything of ours; missing things are no error, nor is a host without nft, which has nothing of ours.
 * @returns whether there is an nft
 * @throws PosternError `host` when some of it may stay
 */
export function removeFirewall(): boolean {
  try {
    // `add` first: deleting a table that is not there is an error.
    nft(["-f", "-"], "add table inet postern\ndelete table inet postern\n");
    removeAcceptRules(listRuleset());
    return true;
  } catch (cause) {
    if (isNftMissing(cause)) return false;
    const what =
      "the firewall's rules may stay: the table inet postern, and accept rules with the comment postern";
    throw new PosternError("host", what, "nft delete table inet postern; see 'nft -a list ruleset'", {
      cause,
    });
  }
}

/** The same where nothing must fail: at a stop, and after crashes. */
export function tearDownFirewall(log: Log): void {
  try {
    if (!removeFirewall()) log.debug?.("no nft: there are no rules to remove");
  } catch (error) {
    if (!(error instanceof PosternError)) throw error;
    const { message, hint: remedy, cause } = error;
    log.warn?.(message, { remedy, reason: cause instanceof Error ? cause.message : String(cause) });
  }
}

/** Deletes our rules in others' chains, found by their comment. */
function removeAcceptRules(ruleset: unknown): void {
  const lines = elementsOf(ruleset, "rule").flatMap((rule) => {
    const { family, table, chain, handle, comment } = rule;
    if (comment !== COMMENT || table !== "filter") return [];
    return [`delete rule ${String(family)} ${String(table)} ${String(chain)} handle ${String(handle)}\n`];
  });
  if (lines.length > 0) nft(["-f", "-"], lines.join(""));
}

/** Chains and rules of everybody, with their handles. */
function listRuleset(): unknown {
  const text = nft(["-j", "-a", "list", "ruleset"], "");
  return text === "" ? {} : JSON.parse(text);
}
