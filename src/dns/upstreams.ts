/** Which resolvers are asked, and by which sentinel each is reached (DN-16 to DN-24). Pure functions. */
import { formatIp, type IpAddress, isLinkLocalV6, type Log } from "../base/index.ts";
import { addressAt, addressKey, isSentinelRange, SENTINELS_V4, SENTINELS_V6, sizeOf } from "./pools.ts";
import type { Do53Server, SentinelMapping, Upstream } from "./resolver-face.ts";

export const MAX_UPSTREAMS = 16;

export interface UpstreamInputs {
  readonly upstreamDo53: readonly IpAddress[];
  readonly upstreamDoh: readonly string[];
  readonly system: readonly Do53Server[];
}

export interface ChosenUpstreams {
  readonly upstreams: readonly Upstream[];
  /** The portal has named them, not the host. */
  readonly isCustom: boolean;
}

/** What two upstreams are the same by. */
export function upstreamKey(upstream: Upstream): string {
  switch (upstream.kind) {
    case "do53": {
      const { address, scope } = upstream.server;
      return `do53 ${formatIp(address)}${scope === undefined ? "" : `%${scope}`}`;
    }
    case "doh":
      return `doh ${upstream.url}`;
    case "none":
      return "none";
  }
}

/** The lists are never merged: Do53 of the portal, else its DoH, else the host's own (DN-17 to DN-20). */
export function chooseUpstreams(inputs: UpstreamInputs, log: Log): ChosenUpstreams {
  const isCustom = inputs.upstreamDo53.length > 0 || inputs.upstreamDoh.length > 0;
  const wanted = chooseList(inputs, log);
  const distinct = [...new Map(wanted.map((upstream) => [upstreamKey(upstream), upstream])).values()];
  const upstreams = distinct.slice(0, MAX_UPSTREAMS);
  if (distinct.length > MAX_UPSTREAMS) {
    log.warn?.("only the first DNS servers are used", {
      left: distinct.slice(MAX_UPSTREAMS).map(upstreamKey),
    });
  }
  return { upstreams: upstreams.length > 0 ? upstreams : [{ kind: "none" }], isCustom };
}

function chooseList({ upstreamDo53, upstreamDoh, system }: UpstreamInputs, log: Log): readonly Upstream[] {
  if (upstreamDo53.length > 0) return toDo53(upstreamDo53.map((address) => ({ address })));
  if (upstreamDoh.length === 0) return toDo53(system);
  return upstreamDoh.flatMap((text): Upstream[] => {
    const url = toDohUrl(text);
    if (url === undefined)
      log.warn?.("DoH server skipped: not an https URL without query and fragment", { url: text });
    return url === undefined ? [] : [{ kind: "doh", url }];
  });
}

function toDo53(servers: readonly Do53Server[]): readonly Upstream[] {
  return servers
    .filter(({ address }) => !isSentinelRange(address) && !isUnspecifiedOrMulticast(address))
    .map(({ address, scope }) => {
      // Only a link-local address means another host on each link.
      const isScoped = scope !== undefined && isLinkLocalV6(address);
      return { kind: "do53", server: isScoped ? { address, scope } : { address } };
    });
}

/** The URL in its one form; `undefined` if a request by it would not be DNS over HTTPS (DN-20). */
export function toDohUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, hostname, search, hash, href } = new URL(text);
  const isUsable = protocol === "https:" && hostname !== "" && search === "" && hash === "";
  return isUsable && !/[?#]/.test(text) ? href : undefined;
}

function isUnspecifiedOrMulticast(address: IpAddress): boolean {
  const first = address[0] ?? 0;
  const isMulticast = address.length === 4 ? first >= 224 : first === 0xff;
  return isMulticast || address.every((byte) => byte === 0);
}

/** Whether both lists have the same upstreams, in whatever order. */
export function isSameSet(a: readonly Upstream[], b: readonly Upstream[]): boolean {
  const keys = new Set(a.map(upstreamKey));
  return a.length === b.length && b.every((upstream) => keys.has(upstreamKey(upstream)));
}

/**
 * A sentinel for each upstream, the lowest free address of its family. Those of the mapping before stay unused,
 * so that the host's resolvers see new servers and forget what they have learnt about the old ones.
 */
export function mapUpstreams(
  upstreams: readonly Upstream[],
  before: readonly SentinelMapping[],
): readonly SentinelMapping[] {
  const used = new Set(before.map(({ sentinel }) => addressKey(sentinel)));
  return upstreams.map((upstream) => {
    const isV6 = upstream.kind === "do53" && upstream.server.address.length === 16;
    const sentinel = lowestFree(isV6 ? SENTINELS_V6 : SENTINELS_V4, used);
    used.add(addressKey(sentinel));
    return { sentinel, upstream };
  });
}

/** There are hundreds of sentinels, and two mappings of 16 at most. */
function lowestFree(range: typeof SENTINELS_V4, used: ReadonlySet<string>): IpAddress {
  for (let offset = 1; offset < sizeOf(range) - 1; offset++) {
    const address = addressAt(range, offset);
    if (!used.has(addressKey(address))) return address;
  }
  throw new Error("no sentinel is free");
}
