/** What a relay says of itself when it joins (PT-9, PT-65, RL-207); the portal's side reads it. */
import * as v from "valibot";
import { readAs } from "./scalar.ts";

export interface RelayJoin extends RelayStreams {
  /** Who the relay is follows from it: a restart makes another one (PT-102). */
  readonly stampSecret: string;
}

/** Where a relay also takes TURN over a stream, at its public addresses. */
export interface RelayStreams {
  /** Its certificate is for `name`. */
  readonly tls?: { readonly port: number; readonly name: string };
  /** Without TLS, for tests. */
  readonly tcp?: { readonly port: number };
}

const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));

const wireJoin = v.object({
  stamp_secret: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/i)),
  tls: v.nullish(v.object({ port, name: v.pipe(v.string(), v.minLength(1), v.maxLength(255)) })),
  tcp: v.nullish(v.object({ port })),
});

/** `undefined` for a faulty payload. */
export function parseRelayJoin(payload: unknown): RelayJoin | undefined {
  const wire = readAs(wireJoin, payload);
  if (wire === undefined) return undefined;
  const { stamp_secret, tls, tcp } = wire;
  return { stampSecret: stamp_secret, ...(tls == null ? {} : { tls }), ...(tcp == null ? {} : { tcp }) };
}
