/**
 * The stored state as text (PT-115). One line holds a list of changes; a snapshot is such lines that
 * start from nothing. Nothing in a record is optional that the record needs: a state half read would be
 * a fresh one in disguise.
 */
import * as v from "valibot";
import { malformed, type Parsed, parsed, parseJson, unixMs } from "../../base/index.ts";
import { isPackedPeer } from "./packed-peer.ts";
import type { PackedPeer, StateChange, StoredState } from "./stored-state.ts";

const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.transform(unixMs));

const authorization = v.object({
  cid: v.string(),
  gid: v.string(),
  rid: v.string(),
  policyId: v.string(),
  tokenHash: v.string(),
  identity: v.string(),
  basis: v.string(),
  expiresAt: v.exactOptional(time),
});

const rejection = v.object({ cid: v.string(), rid: v.string(), at: time });

const peer = v.custom<PackedPeer>(isPackedPeer, "not a whole peer");

const change = v.variant("kind", [
  v.object({ kind: v.picklist(["device", "gateway"]), key: v.string(), value: v.exactOptional(peer) }),
  v.object({ kind: v.literal("authorization"), key: v.string(), value: v.exactOptional(authorization) }),
  v.object({ kind: v.literal("rejection"), key: v.string(), value: v.exactOptional(rejection) }),
]);

const changes = v.array(change);

/** Reads one line. */
export function parseChanges(line: string): Parsed<readonly StateChange[]> {
  return readAs(changes, line);
}

/** One line, with its end. */
export function toChangesText(of: readonly StateChange[]): string {
  return `${JSON.stringify(of)}\n`;
}

/** Peers of earlier versions were written without these two. */
const olderPeer = v.pipe(
  v.unknown(),
  v.transform((value) => (typeof value === "object" ? { tokenHash: "", seenAt: 0, ...value } : value)),
  peer,
);

const document = v.object({
  version: v.literal(1),
  devices: v.array(olderPeer),
  gateways: v.array(olderPeer),
  authorizations: v.array(authorization),
  rejections: v.array(rejection),
});

/** Reads the one document that `state.json` was before there was a journal. */
export function parseDocument(text: string): Parsed<StoredState> {
  const result = readAs(document, text);
  if (!result.ok) return result;
  const { devices, gateways, authorizations, rejections } = result.value;
  return parsed({ devices, gateways, authorizations, rejections });
}

/** The caller makes an error for people of the reason; the JSON parser's own words do not help them. */
function readAs<T>(schema: v.GenericSchema<unknown, T>, text: string): Parsed<T> {
  const json = parseJson(text);
  if (!json.ok) return malformed(json.reason === "not-json" ? "it is not JSON" : "it nests too deeply");
  const result = v.safeParse(schema, json.value, { abortEarly: true });
  if (result.success) return parsed(result.output);
  const [issue] = result.issues;
  return malformed(`${v.getDotPath(issue) ?? "it"}: ${issue.message}`);
}
