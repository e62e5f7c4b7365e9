/** What becomes of a query: the table of dns.md §7, row by row (DN-35 to DN-40). */
import type { IpAddress } from "../base/index.ts";
import { CLASS_IN, RCODE, TYPE } from "./constants.ts";
import type { LocalAnswer, LocalRecord } from "./local-answer.ts";
import { isWithin, type Name, toName } from "./name.ts";
import type { AssignedName } from "./resolver-face.ts";
import type { NamedResource } from "./resource-names.ts";
import { addressOfReverse, isInternalReverse } from "./reverse.ts";
import type { Question } from "./wire.ts";

export type Decision =
  | { readonly kind: "local"; readonly row: number; readonly answer: LocalAnswer }
  /** Rows 5 and 7: the name needs proxy addresses first. */
  | { readonly kind: "proxies"; readonly row: number; readonly resource: NamedResource }
  | { readonly kind: "site"; readonly row: number; readonly resource: NamedResource }
  | { readonly kind: "forward"; readonly row: number };

export interface DecideContext {
  /** The resource that the name belongs to. */
  readonly resource: NamedResource | undefined;
  readonly assignmentOf: (address: IpAddress) => AssignedName | undefined;
}

const NODATA: LocalAnswer = { rcode: RCODE.noError };
const NXDOMAIN: LocalAnswer = { rcode: RCODE.nxDomain };

const CANARY = keyOf("use-application-dns.net");
const LOCALHOST = keyOf("localhost");
const NO_DESIGNATED_RESOLVER = keyOf("resolver.arpa");
const NOWHERE = [keyOf("invalid"), keyOf("onion")];

/** Asked of the site itself: only it knows them, and they cannot be translated. */
const SITE_TYPES: readonly number[] = [
  TYPE.SRV,
  TYPE.TXT,
  TYPE.MX,
  TYPE.NAPTR,
  TYPE.SSHFP,
  TYPE.TLSA,
  TYPE.URI,
];

export function decideQuery(question: Question, { resource, assignmentOf }: DecideContext): Decision {
  const { type } = question;
  const { key } = question.name;
  const local = (row: number, answer: LocalAnswer): Decision => ({ kind: "local", row, answer });
  if (question.class !== CLASS_IN) return { kind: "forward", row: 12 };
  if (key === CANARY) return local(1, NXDOMAIN);
  if (isWithin(key, LOCALHOST)) return local(2, localhost(type));
  const proxy = addressOfReverse(key);
  const assigned = proxy === undefined ? undefined : assignmentOf(proxy);
  if (assigned !== undefined) return local(3, reverse(assigned, type));
  if (isInternalReverse(key)) return local(4, NXDOMAIN);
  if (resource !== undefined) {
    const row = rowOfResource(type);
    if (row === 5 || row === 7) return { kind: "proxies", row, resource };
    if (row === 6) return local(6, NODATA);
    return row === 8 ? { kind: "site", row, resource } : { kind: "forward", row };
  }
  if (isWithin(key, NO_DESIGNATED_RESOLVER)) return local(10, NODATA);
  if (NOWHERE.some((zone) => isWithin(key, zone))) return local(11, NXDOMAIN);
  return { kind: "forward", row: 12 };
}

/** The addresses of rows 5 and 7, as far as resource and device have their family. */
export function proxyRecords(
  type: number,
  proxies: readonly IpAddress[],
  hasFamily: (family: 4 | 6) => boolean,
): readonly LocalRecord[] {
  return proxies.flatMap((data) => {
    const family = data.length === 4 ? 4 : 6;
    const own = family === 4 ? TYPE.A : TYPE.AAAA;
    return hasFamily(family) && (type === own || type === TYPE.ANY) ? [{ type: own, data }] : [];
  });
}

function rowOfResource(type: number): 5 | 6 | 7 | 8 | 9 {
  if (type === TYPE.A || type === TYPE.AAAA) return 5;
  if (type === TYPE.HTTPS || type === TYPE.SVCB) return 6;
  if (type === TYPE.ANY) return 7;
  return SITE_TYPES.includes(type) ? 8 : 9;
}

function localhost(type: number): LocalAnswer {
  const records: readonly LocalRecord[] = [
    { type: TYPE.A, data: Uint8Array.of(127, 0, 0, 1) },
    { type: TYPE.AAAA, data: Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 1 : 0)) },
  ];
  return { rcode: RCODE.noError, records: records.filter((record) => record.type === type) };
}

function reverse({ domain }: AssignedName, type: number): LocalAnswer {
  const data = toName(domain)?.wire;
  const isAsked = type === TYPE.PTR || type === TYPE.ANY;
  return { rcode: RCODE.noError, records: isAsked && data ? [{ type: TYPE.PTR, data }] : [] };
}

function keyOf(text: string): Name["key"] {
  const name = toName(text);
  if (name === undefined) throw new Error(`not a name: ${text}`);
  return name.key;
}
