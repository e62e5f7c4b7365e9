/** What `postern lookup NAME` is told: what the resolver decided about a name, and why (PG-195). */
import { formatIp } from "../../base/index.ts";
import { type LookupReport, TYPE } from "../../dns/index.ts";
import type { TunnelClient } from "../../tunnel/index.ts";
import { ControlRefusal, type LookupView } from "../control/index.ts";
import { type DnsService, describeUpstream } from "../dns/index.ts";

/** Both families, or one other type; rejects as a refusal when the client resolves no names. */
export async function lookupViews(
  dns: Pick<DnsService, "lookup"> | undefined,
  machine: Pick<TunnelClient, "resources">,
  name: string,
  type?: string,
): Promise<readonly LookupView[]> {
  if (dns === undefined) throw new ControlRefusal("not_ready", "this client resolves no names");
  const nameOf = (rid: string): string =>
    machine.resources().find(({ resource }) => resource.rid === rid)?.resource.name ?? rid;
  const types = type === undefined ? [TYPE.A, TYPE.AAAA] : [typeNumber(type)];
  const reports = await Promise.all(types.map((one) => dns.lookup(name, one)));
  return reports.map((report) => toView(report, nameOf));
}

/** By its name, or as `TYPE65` (RFC 3597 §5). */
function typeNumber(text: string): number {
  const upper = text.toUpperCase();
  const known = Object.entries(TYPE).find(([name]) => name === upper)?.[1];
  const number = known ?? Number(/^TYPE(\d{1,5})$/.exec(upper)?.[1]);
  if (Number.isInteger(number) && number <= 0xffff) return number;
  throw new ControlRefusal(
    "bad_params",
    `${text} is no type of records: A, TXT, SRV, MX or TYPE65, for example`,
  );
}

function typeName(number: number): string {
  return Object.entries(TYPE).find(([, known]) => known === number)?.[0] ?? `TYPE${number}`;
}

function toView(report: LookupReport, nameOf: (rid: string) => string): LookupView {
  const { domain, type, rcode, addresses, records, decision } = report;
  return {
    name: domain,
    type: typeName(type),
    rcode: RCODES[rcode] ?? String(rcode),
    addresses: addresses.map(formatIp),
    records,
    ...explain(decision, nameOf),
  };
}

const RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"] as const;

/** By rows of dns.md §7. */
const LOCAL_ROWS: Readonly<Record<number, string>> = {
  1: "told to browsers so that they keep the system's resolver",
  2: "localhost is this host",
  3: "the reverse name of a proxy address",
  4: "the reverse name of a private address of the tunnel",
  10: "no resolver is designated here",
  11: "the name exists nowhere by definition",
};

function explain(
  decision: LookupReport["decision"],
  nameOf: (rid: string) => string,
): Pick<LookupView, "decision" | "why" | "rid"> {
  switch (decision.kind) {
    case "malformed":
      return { decision: "refused", why: decision.reason, rid: null };
    case "cached":
      return { decision: "cached", why: "a server has said so, and it still holds", rid: null };
    case "local": {
      const { rid, pattern, row } = decision;
      if (rid === undefined) return { decision: "local", why: LOCAL_ROWS[row] ?? `row ${row}`, rid: null };
      return { decision: "resource", why: `matches ${pattern} of the resource ${nameOf(rid)}`, rid };
    }
    case "site":
      return {
        decision: "site",
        why: `asked at the site of the resource ${nameOf(decision.rid)}`,
        rid: decision.rid,
      };
    case "forwarded": {
      const way = decision.path === "tunnel" ? "through the tunnel" : "past the tunnel";
      const server = describeUpstream(decision);
      const why =
        decision.upstream.kind === "none"
          ? "no resource has it, and there is no server to ask"
          : `no resource has it: ${server} is asked ${way}`;
      return { decision: "forwarded", why, rid: null };
    }
  }
}
