/** The text of /etc/resolv.conf while the client's sentinels are its servers (DN-103 to DN-107). Pure. */
import { formatIp, type IpAddress, parseIp } from "../base/index.ts";
import { SEARCH_MAX, SERVERS_MAX } from "./resolver-files.ts";

/** The first line of a file that is ours. */
export const RESOLV_CONF_HEADER = "# BEGIN Postern DNS configuration";

const OWNER_PREFIX = "# Postern instance ";
const OWNER = /^# Postern instance (\S+), process (\d+) \((\d+)\), servers ([^,]*)(?:, search (\S+))?$/;

export interface WantedDns {
  /** Sentinels, in order. */
  readonly servers: readonly IpAddress[];
  readonly searchDomain: string | undefined;
}

/** A client that has set the file, and what it wants there. */
export interface DnsOwner {
  readonly instance: string;
  readonly process: number;
  /** By the kernel's count: another process may have the number later. */
  readonly startedAt: number;
  readonly wanted: WantedDns;
}

/** A server as a file names it: a link-local address may need its interface. */
export interface NamedServer {
  readonly address: IpAddress;
  readonly zone?: string;
}

export function isOurs(text: string): boolean {
  return text.startsWith(RESOLV_CONF_HEADER);
}

/**
 * The host's own text with our servers in it; the user's search list and options stay.
 * @param owners in the order in which they came: the servers of the last one are asked first
 */
export function toOurText(original: string, owners: readonly DnsOwner[], backupPath: string): string {
  const newestFirst = owners.toReversed().map(({ wanted }) => wanted);
  const servers = [...new Set(newestFirst.flatMap((one) => one.servers.map(formatIp)))];
  const ownSearch = newestFirst.flatMap(({ searchDomain }) => searchDomain ?? []);
  const lines = original.split("\n").filter((line, i, all) => line !== "" || i < all.length - 1);
  // A line that names an owner would make one of whoever it names, if it came with the host's text.
  const kept = lines.filter(
    (line) => !["nameserver", "search", "domain"].includes(keywordOf(line)) && !line.startsWith(OWNER_PREFIX),
  );
  const distinct = [...new Set([...ownSearch, ...searchOf(lines)])].slice(0, SEARCH_MAX);
  return `${[
    RESOLV_CONF_HEADER,
    `# The file as it was before is ${backupPath}.`,
    "# It comes back when the client stops, or by: postern client --revert-dns",
    ...owners.map(formatOwner),
    ...servers.slice(0, SERVERS_MAX).map((server) => `nameserver ${server}`),
    ...(distinct.length === 0 ? [] : [`search ${distinct.join(" ")}`]),
    ...kept.map(withoutTrust),
  ].join("\n")}\n`;
}

/** What the file was before, as far as our text shows it: for a backup that is lost. */
export function recoverOriginal(text: string, isSentinel: (address: IpAddress) => boolean): string {
  const lines = text.split("\n");
  // Our header and its two lines of explanation.
  const own = lines.slice(isOurs(text) ? 3 : 0);
  return own
    .filter((line) => !line.startsWith(OWNER_PREFIX))
    .filter((line) => {
      const server =
        keywordOf(line) === "nameserver" ? readServer(line.trim().split(/\s+/)[1] ?? "") : undefined;
      return server === undefined || !isSentinel(server.address);
    })
    .join("\n");
}

/** Who has set a text of ours, in the order in which they came. */
export function ownersIn(text: string): readonly DnsOwner[] {
  if (!isOurs(text)) return [];
  return text.split("\n").flatMap((line) => {
    const found = OWNER.exec(line);
    if (found === null) return [];
    const [, instance = "", process = "", startedAt = "", servers = "", searchDomain] = found;
    const addresses = servers.split(" ").flatMap((word) => {
      const address = parseIp(word);
      return address.ok ? [address.value] : [];
    });
    const numbers = { process: Number(process), startedAt: Number(startedAt) };
    return [{ instance: decode(instance), ...numbers, wanted: { servers: addresses, searchDomain } }];
  });
}

function formatOwner({ instance, process, startedAt, wanted }: DnsOwner): string {
  const { servers, searchDomain } = wanted;
  const search = searchDomain === undefined ? "" : `, search ${searchDomain}`;
  const who = `${encodeURIComponent(instance)}, process ${process} (${startedAt})`;
  return `${OWNER_PREFIX}${who}, servers ${servers.map(formatIp).join(" ")}${search}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Somebody has edited the line.
    return text;
  }
}

/** The servers that a text names, in order; lines that cannot be read are skipped. */
export function serversIn(text: string): readonly NamedServer[] {
  return text.split("\n").flatMap((line) => {
    if (keywordOf(line) !== "nameserver") return [];
    const server = readServer(line.trim().split(/\s+/)[1] ?? "");
    return server === undefined ? [] : [server];
  });
}

/**
 * The servers in what `resolvectl dns` prints: `Link 2 (eth0): 192.0.2.1 [2001:db8::1]:53 fe80::1%eth0#name`.
 * Those of another port than 53 are nothing that a sentinel could ask.
 */
export function serversInResolvectl(text: string): readonly NamedServer[] {
  return text.split("\n").flatMap((line) => {
    const words = /^[^:]*\(.*?\):(.*)$|^Global:(.*)$/.exec(line);
    return (words?.[1] ?? words?.[2] ?? "").trim().split(/\s+/).flatMap(readWord);
  });
}

function readWord(word: string): readonly NamedServer[] {
  const bare = word.split("#")[0] ?? "";
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:\s]+))(?::(\d+))?$/.exec(bare) ?? [];
  const text = bracketed ?? plain ?? bare;
  const server = port === undefined || port === "53" ? readServer(text) : undefined;
  return server === undefined ? [] : [server];
}

function readServer(text: string): NamedServer | undefined {
  const [host = "", zone] = text.split("%");
  const address = parseIp(host);
  if (!address.ok) return undefined;
  return { address: address.value, ...(zone !== undefined && zone !== "" && { zone }) };
}

function searchOf(lines: readonly string[]): readonly string[] {
  // The last of these lines counts.
  const last = lines.findLast((line) => ["search", "domain"].includes(keywordOf(line)));
  return last === undefined ? [] : last.trim().split(/\s+/).slice(1);
}

/** `ndots:1`, since names of resources have one dot; no trust in signatures that nobody has checked. */
function withoutTrust(line: string): string {
  if (keywordOf(line) !== "options") return line;
  const words = line
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "trust-ad");
  return words.map((word) => (word.startsWith("ndots:") ? "ndots:1" : word)).join(" ");
}

/** Remarks begin with `#` or `;` in the first column. */
function keywordOf(line: string): string {
  return /^\s*([a-z]+)\s/.exec(line)?.[1] ?? "";
}
