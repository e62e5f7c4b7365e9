/**
 * The text form in which candidates are signalled (SN-28, SN-29, RFC 8839 §5.1):
 *
 *     candidate:<foundation> 1 udp <priority> <ip> <port> typ <kind> [raddr … rport …] ufrag <fragment>
 */
import { formatIp, isUsableAddress, malformed, type Parsed, parsed, parseIp } from "../base/index.ts";
import type { Candidate, CandidateKind, LocalCandidate } from "./candidate.ts";
import { CANDIDATE_TEXT_MAX, COMPONENT } from "./constants.ts";

/** What was read, before the agent has looked at component and fragment (SN-31). */
export interface CandidateText extends Candidate {
  readonly component: number;
  readonly usernameFragment?: string;
}

export type MalformedCandidate =
  | "not-a-string"
  | "too-long"
  | "no-prefix"
  | "too-few-fields"
  | "foundation"
  | "component"
  | "transport"
  | "priority"
  | "address"
  | "port"
  | "kind";

const PREFIX = "candidate:";
const PRIORITY_MAX = 2 ** 31 - 1;

/** Never tells a private address behind a translated one: `raddr` is always unspecified (SN-28). */
export function formatCandidate(candidate: LocalCandidate, usernameFragment: string): string {
  const { address, port } = candidate.address;
  const related = address.length === 4 ? "0.0.0.0" : "::";
  return [
    `${PREFIX}${candidate.foundation} ${COMPONENT} udp ${candidate.priority} ${formatIp(address)} ${port}`,
    `typ ${candidate.kind}`,
    ...(candidate.kind === "host" ? [] : [`raddr ${related} rport 0`]),
    `ufrag ${usernameFragment}`,
  ].join(" ");
}

/** Reads what a peer signalled; list elements may be anything (SN-30). */
export function parseCandidate(text: unknown): Parsed<CandidateText, MalformedCandidate> {
  if (typeof text !== "string") return malformed("not-a-string");
  if (text.length > CANDIDATE_TEXT_MAX) return malformed("too-long");
  if (!text.startsWith(PREFIX)) return malformed("no-prefix");
  const fields = text.slice(PREFIX.length).split(/\s+/);
  const [foundation = "", component = "", transport = "", priority = "", host = "", port = ""] = fields;
  const [typ, kind] = fields.slice(6);
  if (kind === undefined || typ !== "typ") return malformed("too-few-fields");
  if (foundation.length < 1 || foundation.length > 64) return malformed("foundation");
  const componentNumber = toInteger(component, 0, 0xffff);
  if (componentNumber === undefined) return malformed("component");
  if (transport.toLowerCase() !== "udp") return malformed("transport");
  const priorityNumber = toInteger(priority, 1, PRIORITY_MAX);
  if (priorityNumber === undefined) return malformed("priority");
  const address = parseIp(host);
  if (!address.ok || !isUsableAddress(address.value)) return malformed("address");
  const portNumber = toInteger(port, 1, 0xffff);
  if (portNumber === undefined) return malformed("port");
  if (!isKind(kind)) return malformed("kind");
  const usernameFragment = extensionOf(fields.slice(8), "ufrag");
  return parsed({
    kind,
    address: { address: address.value, port: portNumber },
    priority: priorityNumber,
    component: componentNumber,
    ...(usernameFragment === undefined ? {} : { usernameFragment }),
  });
}

/** The value of the first such key among key–value pairs; unknown keys are skipped with theirs. */
function extensionOf(fields: readonly string[], key: string): string | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === key) return fields[i + 1];
  return undefined;
}

function isKind(text: string): text is CandidateKind {
  return text === "host" || text === "prflx" || text === "srflx" || text === "relay";
}

function toInteger(text: string, least: number, most: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}
