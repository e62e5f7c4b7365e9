/** A table of nftables that is looked at again, and set up anew when somebody changed it (PG-153). */
import { type Kernel, openNftables } from "../../bindings/linux/index.ts";
import type { Log } from "../base/index.ts";
import { hasAcceptRules, setUpFirewall } from "./firewall.ts";
import { nftLater } from "./nft.ts";

export interface KeptTable {
  /** As nft names it: `inet postern`. */
  readonly name: string;
  /** Other tables whose changes concern it, by name. */
  readonly neighbours: readonly string[];
  /** @throws PosternError `host` when nft refuses */
  setUp(): void;
  /** Whether it is as it was set up. */
  isIntact(): Promise<boolean>;
  close(): void;
}

const NAME = "inet postern";

/**
 * The gateway's table and its accept rules in others' chains (PG-69, PG-70). `nft` is run only when the
 * ruleset is of another generation than the one that was last seen intact.
 *
 * @throws PosternError `host` on a kernel without nftables
 */
export function keepFirewall(kernel: Kernel, tunName: string, log: Log): KeptTable {
  const nftables = openNftables(kernel);
  /** What nft prints of it, without counters. */
  const list = (): Promise<string | undefined> => nftLater(["-s", "list", "table", ...NAME.split(" ")]);
  let asSetUp: Promise<string | undefined> = Promise.resolve(undefined);
  let intactGeneration: number | undefined;

  async function look(): Promise<boolean> {
    const wanted = await asSetUp;
    return wanted !== undefined && (await list()) === wanted && (await hasAcceptRules(tunName));
  }

  return {
    name: NAME,
    // iptables' own, where the accept rules go.
    neighbours: ["filter"],
    setUp() {
      setUpFirewall(tunName, log);
      // The ruleset may be another one again by now: only a look tells of which generation it is intact.
      intactGeneration = undefined;
      asSetUp = list();
    },
    async isIntact() {
      const generation = nftables.generation();
      if (generation !== undefined && generation === intactGeneration) return true;
      const isIntact = await look();
      intactGeneration = isIntact ? generation : undefined;
      return isIntact;
    },
    close: nftables.close,
  };
}
