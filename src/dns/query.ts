/** What a front end makes of octets that come as a query (DN-15). */
import { RCODE, TYPE } from "./constants.ts";
import { encodeHeaderOnly, encodeLocal } from "./local-answer.ts";
import { type DnsMessage, parseDnsHeader, parseMessage, parseQuestion, type Question } from "./wire.ts";

export interface Query extends DnsMessage {
  readonly question: Question;
}

export type QueryFault = "dns_drop_not_query" | "dns_notimp" | "dns_formerr" | "dns_badvers" | "dns_refused";

export type QueryCheck =
  | { readonly kind: "query"; readonly query: Query }
  /** Nothing is answered; a connection is aborted. */
  | { readonly kind: "drop"; readonly counter: QueryFault }
  | { readonly kind: "answer"; readonly counter: QueryFault; readonly answer: Uint8Array<ArrayBuffer> };

/** Transfers of zones and the mail queries that are long gone. */
const REFUSED_TYPES: readonly number[] = [TYPE.AXFR, TYPE.IXFR, TYPE.MAILA, TYPE.MAILB];

/** Checks in the order of the table of DN-15; the first that applies decides. Borrows `bytes`. */
export function checkQuery(bytes: Uint8Array): QueryCheck {
  const header = parseDnsHeader(bytes);
  if (header === undefined || header.isResponse) return { kind: "drop", counter: "dns_drop_not_query" };
  const headerOnly = (counter: QueryFault, rcode: number): QueryCheck => ({
    kind: "answer",
    counter,
    answer: encodeHeaderOnly(header, rcode),
  });
  if (header.opcode !== 0) return headerOnly("dns_notimp", RCODE.notImp);
  if (header.counts[0] !== 1) return headerOnly("dns_formerr", RCODE.formErr);
  const asked = parseQuestion(bytes);
  if (!asked.ok) return headerOnly("dns_formerr", RCODE.formErr);
  const { question, end } = asked.value;
  const refuse = (counter: QueryFault, rcode: number, edns?: DnsMessage["edns"]): QueryCheck => ({
    kind: "answer",
    counter,
    answer: encodeLocal({ header, bytes, recordsAt: end, edns }, { rcode }),
  });
  const message = parseMessage(bytes);
  if (!message.ok) return refuse("dns_formerr", RCODE.formErr);
  const { edns } = message.value;
  if (edns !== undefined && edns.version > 0) return refuse("dns_badvers", RCODE.badVers, edns);
  if (REFUSED_TYPES.includes(question.type)) return refuse("dns_refused", RCODE.refused, edns);
  return { kind: "query", query: { ...message.value, question } };
}
