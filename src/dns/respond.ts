/** The way of an answer back to its asker. */
import { unreachable } from "../base/index.ts";
import { encodeUdp } from "../packet/index.ts";
import { addressesIn } from "./address-query.ts";
import { EXTENDED_ERROR, type ExtendedError, RCODE, TYPE } from "./constants.ts";
import { encodeLocal, fitAnswer, udpLimitOf } from "./local-answer.ts";
import { domainOf } from "./name.ts";
import type { Query } from "./query.ts";
import type { LookupReport, QueryDecision } from "./resolver-face.ts";
import { type Asker, count, type ResolverState } from "./resolver-state.ts";
import { parseMessage } from "./wire.ts";

/** SERVFAIL, with the reason for those who take EDNS (DN-11). */
export function fail(
  state: ResolverState,
  asker: Asker,
  query: Query,
  decision: QueryDecision,
  extendedError?: ExtendedError,
): void {
  count(state, "dns_servfail");
  state.log.debug?.("query failed", { why: extendedError && EXTENDED_ERROR[extendedError] });
  const answer = { rcode: RCODE.servFail, ...(extendedError && { extendedError }) };
  respond(state, asker, query, encodeLocal(query, answer), decision);
}

/** What answers a query that was read, as long as its asker's transport takes. */
export function respond(
  state: ResolverState,
  asker: Asker,
  query: Query,
  answer: Uint8Array<ArrayBuffer>,
  decision: QueryDecision,
): void {
  const rcode = (answer[3] ?? 0) & 15;
  count(state, `dns_rcode_${rcode}`);
  const { name, type } = query.question;
  state.wire?.("query answered", { name: domainOf(name), type, from: asker.kind, rcode, ...decision });
  switch (asker.kind) {
    case "udp": {
      const fitting = fitAnswer(query, answer, udpLimitOf(query));
      if (fitting !== answer) count(state, "dns_truncated");
      return sendAnswer(state, asker, fitting);
    }
    case "tcp":
      return sendAnswer(state, asker, answer);
    case "lookup":
      state.events.push({ kind: "looked-up", token: asker.token, report: toReport(query, answer, decision) });
      return;
    case "loop-probe":
      return;
    default:
      return unreachable(asker);
  }
}

export function sendAnswer(state: ResolverState, asker: Asker, answer: Uint8Array): void {
  if (asker.kind === "tcp") state.tcpAnswers.push({ stream: asker.stream, bytes: answer });
  if (asker.kind !== "udp") return;
  const packet = encodeUdp(asker.sentinel, asker.peer, answer);
  // What fits into UDP_MAX fits into a packet.
  if (packet.ok) state.packets.push(packet.value);
}

function toReport(query: Query, answer: Uint8Array, decision: QueryDecision): LookupReport {
  const { name, type } = query.question;
  const message = parseMessage(answer);
  const report = { domain: domainOf(name), type, decision };
  if (!message.ok) return { ...report, rcode: RCODE.servFail, addresses: [], records: 0 };
  const types =
    type === TYPE.ANY ? [TYPE.A, TYPE.AAAA] : [type].filter((one) => one === TYPE.A || one === TYPE.AAAA);
  const addresses = types.flatMap((one) => addressesIn(message.value, name.key, one));
  const records = message.value.answers.filter((record) => record.type === type).length;
  return { ...report, rcode: message.value.header.rcode, addresses, records };
}
