/** Tables of nftables that are looked at again, and set up anew when somebody changed them (PG-153). */
import type { Log, Prefix } from "../base/index.ts";
import { hasAcceptRules, setUpFirewall } from "./firewall.ts";
import { guardRefresh, guardRemoval, guardRuleset, guardTable } from "./guard.ts";
import { nft, nftLater } from "./nft.ts";

export interface KeptTable {
  /** As nft names it: `inet postern`. */
  readonly name: string;
  /** Other tables whose changes concern it, by name. */
  readonly neighbours: readonly string[];
  /** @throws PosternError `host` when nft refuses */
  setUp(): void;
  /** Whether it is as it was set up. */
  isIntact(): Promise<boolean>;
  /** What has to be done now and then while it is intact. */
  refresh(): Promise<void>;
}

/** The gateway's table and its accept rules in others' chains (PG-69, PG-70). */
export function keepFirewall(tunName: string, log: Log): KeptTable {
  const table = keepTable("inet postern", () => setUpFirewall(tunName, log));
  return {
    ...table,
    // iptables' own, where the accept rules go.
    neighbours: ["filter"],
    isIntact: async () => (await table.isIntact()) && (await hasAcceptRules(tunName)),
  };
}

export interface Guard extends KeptTable {
  /** Sets up the table for other networks. */
  want(networks: readonly Prefix[]): void;
  remove(): void;
}

/** The chain that keeps packets for networks behind the tunnel from leaving elsewhere (PG-154). */
export function createGuard(tunName: string): Guard {
  let networks: readonly Prefix[] = [];
  const table = keepTable(`inet ${guardTable(tunName)}`, () => {
    nft(["-f", "-"], guardRuleset(tunName, networks));
  });
  return {
    ...table,
    want(wanted) {
      networks = wanted;
      table.setUp();
    },
    async refresh() {
      await nftLater(["-f", "-"], guardRefresh(tunName, networks));
    },
    remove() {
      nft(["-f", "-"], guardRemoval(tunName));
    },
  };
}

function keepTable(name: string, install: () => void): KeptTable {
  /** What nft prints of it, without counters and lifetimes. */
  const list = (): Promise<string | undefined> => nftLater(["-s", "list", "table", ...name.split(" ")]);
  let asSetUp: Promise<string | undefined> = Promise.resolve(undefined);
  return {
    name,
    neighbours: [],
    setUp() {
      install();
      asSetUp = list();
    },
    async isIntact() {
      const wanted = await asSetUp;
      return wanted !== undefined && (await list()) === wanted;
    },
    refresh: () => Promise.resolve(),
  };
}
