/** What a client does with its allocation: Refresh, ChannelBind, CreatePermission (RL-23 to RL-28, RL-40). */
import { after, type Instant, type SocketAddress } from "../base/index.ts";
import { FAMILY_IPV4, FAMILY_IPV6 } from "../stun/index.ts";
import { CHANNEL_FIRST, CHANNEL_LAST_ACCEPTED } from "../turn/index.ts";
import { lifetimeOf } from "./allocate.ts";
import { bind, bindingsOf, endFamilies, setExpiry, setOwner } from "./allocation.ts";
import { type RefusalCode, refuse, succeed } from "./respond.ts";
import { type Allocation, type AuthenticatedRequest, familyOf, type ServerState } from "./state.ts";

export function handleRefresh(state: ServerState, now: Instant, request: AuthenticatedRequest): void {
  const { allocation, message, user } = request;
  if (allocation === undefined) return refuse(state, now, request, 437);
  const { requestedFamily, lifetimeSeconds } = message.fields;
  const families = [...allocation.expiry.keys()].filter(
    (family) => requestedFamily === undefined || requestedFamily === FAMILY_BYTE[family],
  );
  if (families.length === 0) return refuse(state, now, request, 443);
  if (lifetimeSeconds === 0) {
    endFamilies(state, allocation, families, "deleted by its client");
    succeed(state, request, { lifetimeSeconds: 0 });
    return;
  }
  const seconds = lifetimeOf(lifetimeSeconds);
  setOwner(state, allocation, user.salt);
  setExpiry(state, allocation, families, after(now, 1000 * seconds));
  succeed(state, request, { lifetimeSeconds: seconds });
}

const FAMILY_BYTE = { 4: FAMILY_IPV4, 6: FAMILY_IPV6 } as const;

export function handleChannelBind(state: ServerState, now: Instant, request: AuthenticatedRequest): void {
  const { channelNumber: channel, peerAddress: peer } = request.message.fields;
  if (channel === undefined || peer === undefined || peer.port === 0) return refuse(state, now, request, 400);
  if (channel < CHANNEL_FIRST || channel > CHANNEL_LAST_ACCEPTED) return refuse(state, now, request, 400);
  const { allocation, client, local } = request;
  if (allocation === undefined) return refuse(state, now, request, 437);
  const code = peerFault(state, allocation, peer) ?? channelFault(state, allocation, channel, peer);
  if (code !== undefined) return refuse(state, now, request, code);
  bind(state, now, allocation, {
    client,
    ...(local && { local }),
    channel,
    port: allocation.port,
    peer,
    isHairpin: state.policy.judge(peer) === "hairpin",
  });
  succeed(state, request, {});
}

/** Without effect: a channel binding is the only permission (RL-31). Browsers and tools ask all the same. */
export function handleCreatePermission(
  state: ServerState,
  now: Instant,
  request: AuthenticatedRequest,
): void {
  const { allocation, message } = request;
  const peer = message.fields.peerAddress;
  if (allocation === undefined) return refuse(state, now, request, 437);
  if (peer === undefined) return refuse(state, now, request, 400);
  const code = peerFault(state, allocation, peer, { isAnyPort: true });
  if (code !== undefined) return refuse(state, now, request, code);
  succeed(state, request, {});
}

function peerFault(
  { policy, options }: ServerState,
  allocation: Allocation,
  peer: SocketAddress,
  { isAnyPort = false } = {},
): RefusalCode | undefined {
  if (!allocation.expiry.has(familyOf(peer.address))) return 443;
  // A permission is for an address: that of our own would be judged by a port that means nothing.
  const judged = isAnyPort ? { ...peer, port: options.ports.lowest } : peer;
  return policy.judge(judged) === "denied" ? 403 : undefined;
}

function channelFault(
  state: ServerState,
  allocation: Allocation,
  channel: number,
  peer: SocketAddress,
): RefusalCode | undefined {
  const { ofChannel, ofPeer } = bindingsOf(allocation, channel, peer);
  if (ofChannel !== ofPeer) return 400;
  if (ofChannel !== undefined) return undefined;
  const { bindingsMax, bindingsPerAllocation } = state.options.limits;
  const isFull =
    state.bound + state.cooling >= bindingsMax || allocation.byChannel.size >= bindingsPerAllocation;
  return isFull ? 508 : undefined;
}
