/**
 * What a gateway is told when an authorisation has gone (PT-91).
 */
import { type Instant, type UnixMs, unixMs } from "../../base/index.ts";
import { NEVER_EXPIRES_S } from "../protocol/index.ts";
import { latestExpiry } from "./authorizations.ts";
import { type Core, pushToGateway } from "./core.ts";

/** Names what a client uses through a gateway. */
export interface AccessKey {
  readonly cid: string;
  readonly gid: string;
  readonly rid: string;
}

/** For messages that want a number: "never" is the end of 9999 (PT-52). */
export function toExpiry(expiresAt: UnixMs | undefined): UnixMs {
  return expiresAt ?? unixMs(NEVER_EXPIRES_S * 1000);
}

/**
 * Tells the gateway the latest expiry that other records still grant, or that access has ended.
 * Returns whether something is left. A gateway that is away hears it from its next `init` (PT-61).
 */
export function announceEnd(core: Core, now: Instant, { cid, gid, rid }: AccessKey): boolean {
  const left = core.store.authorizations
    .ofPair(cid, gid, core.clock.wallNow(now))
    .filter((record) => record.rid === rid);
  const gateway = core.sockets.readyPeer("gateway", gid);
  if (gateway !== undefined) {
    if (left.length === 0) pushToGateway(core, gateway, { kind: "reject-access", cid, rid });
    else {
      const expiresAt = toExpiry(latestExpiry(left));
      pushToGateway(core, gateway, { kind: "access-authorization-expiry-updated", cid, rid, expiresAt });
    }
  }
  return left.length > 0;
}
