/**
 * The one description of everything that control and the packet plane share in memory (D-3).
 *
 * `scripts/generate.mjs` makes `assembly/layout.ts` from it: an offset per field (`Session.REMOTE`), the
 * size of each record (`Session.BYTES`), a number per drop reason (`Drop.WG_REPLAY`), the place of each
 * counter in a worker's record (`Counter.PACKETS_IN`), and the constants below. Nobody writes an offset
 * by hand. The module exports the fingerprint of the description, which is compared at load.
 *
 *     0x00000  never used: address 0 means "none"
 *     0x10000  constant tables of the module (asc --memoryBase)
 *     0x40000  the plane record
 *     0x50000  control's scratch, for the arguments of its own system calls
 *     0x80000  everything else, given out by bindings/memory/shared-memory.ts: workers and their buffers, rings,
 *              peers, sessions, paths, policy tables
 */
import { CONSTANTS } from "./layout-constants.ts";
import { flow, flowSide, flowTable, fragment } from "./layout-flow.ts";
import { coalesce, packet, split } from "./layout-packet.ts";
import { fingerprint, placeFields } from "./layout-record.ts";
import { binding, forward, relay, relaySend } from "./layout-relay.ts";
import {
  budget,
  guard,
  hostEntry,
  hostTable,
  path,
  peer,
  permit,
  plane,
  policy,
  rangeSet,
  session,
} from "./layout-tables.ts";
import { egress, entry, ingress, ring, transit, worker } from "./layout-worker.ts";
import { COUNTERS, REASON_NAMES } from "./reasons.ts";

export { CONSTANTS } from "./layout-constants.ts";

/** Descriptions by name; `after` puts a record behind another one. */
export const RECORDS = {
  plane: { fields: plane },
  guard: { fields: guard },
  budget: { fields: budget },
  peer: { fields: peer },
  session: { fields: session },
  path: { fields: path },
  rangeSet: { fields: rangeSet },
  hostTable: { fields: hostTable },
  hostEntry: { fields: hostEntry },
  policy: { fields: policy },
  permit: { fields: permit },
  flowTable: { fields: flowTable },
  flow: { fields: flow },
  flowSide: { fields: flowSide },
  fragment: { fields: fragment },
  ring: { fields: ring },
  entry: { fields: entry },
  packet: { fields: packet },
  split: { fields: split },
  coalesce: { fields: coalesce },
  transit: { fields: transit },
  relay: { fields: relay },
  binding: { fields: binding },
  relaySend: { fields: relaySend },
  worker: { fields: worker },
  egress: { fields: egress, after: "worker" },
  ingress: { fields: ingress, after: "worker" },
  forward: { fields: forward, after: "worker" },
} as const;

export type RecordName = keyof typeof RECORDS;
type FieldName<R extends RecordName> = keyof (typeof RECORDS)[R]["fields"];

const worker0 = placeFields(RECORDS.worker.fields);

/** Offsets of all fields: `OFFSETS.session.remote`. */
export const OFFSETS = {
  plane: placeFields(plane).offsets,
  guard: placeFields(guard).offsets,
  budget: placeFields(budget).offsets,
  peer: placeFields(peer).offsets,
  session: placeFields(session).offsets,
  path: placeFields(path).offsets,
  rangeSet: placeFields(rangeSet).offsets,
  hostTable: placeFields(hostTable).offsets,
  hostEntry: placeFields(hostEntry).offsets,
  policy: placeFields(policy).offsets,
  permit: placeFields(permit).offsets,
  flowTable: placeFields(flowTable).offsets,
  flow: placeFields(flow).offsets,
  flowSide: placeFields(flowSide).offsets,
  fragment: placeFields(fragment).offsets,
  ring: placeFields(ring).offsets,
  entry: placeFields(entry).offsets,
  packet: placeFields(packet).offsets,
  split: placeFields(split).offsets,
  coalesce: placeFields(coalesce).offsets,
  transit: placeFields(transit).offsets,
  relay: placeFields(relay).offsets,
  binding: placeFields(binding).offsets,
  relaySend: placeFields(relaySend).offsets,
  worker: worker0.offsets,
  egress: placeFields(egress, worker0.bytes).offsets,
  ingress: placeFields(ingress, worker0.bytes).offsets,
  forward: placeFields(forward, worker0.bytes).offsets,
} as const satisfies { readonly [R in RecordName]: Readonly<Record<FieldName<R>, number>> };

/** Sizes of all records; those behind another one include it. */
export const BYTES: Readonly<Record<RecordName, number>> = {
  plane: placeFields(plane).bytes,
  guard: placeFields(guard).bytes,
  budget: placeFields(budget).bytes,
  peer: placeFields(peer).bytes,
  session: placeFields(session).bytes,
  path: placeFields(path).bytes,
  rangeSet: placeFields(rangeSet).bytes,
  hostTable: placeFields(hostTable).bytes,
  hostEntry: placeFields(hostEntry).bytes,
  policy: placeFields(policy).bytes,
  permit: placeFields(permit).bytes,
  flowTable: placeFields(flowTable).bytes,
  flow: placeFields(flow).bytes,
  flowSide: placeFields(flowSide).bytes,
  fragment: placeFields(fragment).bytes,
  ring: placeFields(ring).bytes,
  entry: placeFields(entry).bytes,
  packet: placeFields(packet).bytes,
  split: placeFields(split).bytes,
  coalesce: placeFields(coalesce).bytes,
  transit: placeFields(transit).bytes,
  relay: placeFields(relay).bytes,
  binding: placeFields(binding).bytes,
  relaySend: placeFields(relaySend).bytes,
  worker: worker0.bytes,
  egress: placeFields(egress, worker0.bytes).bytes,
  ingress: placeFields(ingress, worker0.bytes).bytes,
  forward: placeFields(forward, worker0.bytes).bytes,
};

/** What the module must have been made from (D-3). */
export const LAYOUT_HASH = fingerprint(
  JSON.stringify([RECORDS, CONSTANTS, REASON_NAMES, Object.keys(COUNTERS)]),
);
