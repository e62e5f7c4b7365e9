/** nftables over a netlink socket of our own, where starting `nft` would be too dear or too short-lived. */
import { hostError } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { openNetlink, type Refusal, toRefusal } from "./netlink.ts";
import { NETLINK_NETFILTER, NLM_F_ACK } from "./netlink-constants.ts";
import { generationRequest, type NftChange, parseGeneration, transaction } from "./nftables-codec.ts";

export interface Nftables {
  /** The number of the whole ruleset, another one after each transaction; `undefined` when it is not told. */
  generation(): number | undefined;
  /** Carries out all changes, or none and says why. One message holds some thousand intervals. */
  commit(changes: readonly NftChange[]): Refusal | undefined;
  /** Tables that this socket owns go with it, as they do when the process is killed. */
  close(): void;
}

/** @throws PosternError `host` on a kernel without nftables */
export function openNftables(kernel: Kernel): Nftables {
  const netlink = openNetlink(kernel, NETLINK_NETFILTER);
  function generation(): number | undefined {
    const outcome = netlink.request(generationRequest(), 0);
    const reply = outcome.ok ? outcome.messages[0] : undefined;
    return reply === undefined ? undefined : parseGeneration(reply.body);
  }
  const outcome = netlink.request(generationRequest(), 0);
  if (!outcome.ok) {
    netlink.close();
    throw hostError("cannot reach nftables", "netlink", outcome.errno);
  }
  return {
    generation,
    commit(changes) {
      const last = changes.length - 1;
      const flagged = changes.map((change, i) =>
        i === last ? { ...change, flags: change.flags | NLM_F_ACK } : change,
      );
      return toRefusal(netlink.requestAll(transaction(flagged)));
    },
    close: netlink.close,
  };
}
