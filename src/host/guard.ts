/**
 * A table of nftables that drops packets for networks behind the tunnel which would leave by another device
 * (PG-154).
 *
 * Routing sends them into the tunnel. When somebody deletes a rule or a route, or takes the device down,
 * they would leave in the clear until it is repaired. The table belongs to a socket of this process: nobody
 * else can change or flush it, and the kernel removes it when the process ends, however it does. A child
 * process such as nft could not make it so, as the table would go with that.
 */
import {
  addIntervals,
  compare,
  countBy,
  deleteIntervals,
  deleteTable,
  isIn,
  type Kernel,
  loadDestinationType,
  loadMeta,
  loadPayload,
  type NftChange,
  type NftExpression,
  type NftSet,
  newChain,
  newCounter,
  newRule,
  newSet,
  newTable,
  openNftables,
  type Refusal,
  RTN_UNICAST,
  SystemCallError,
  verdict,
} from "../../bindings/linux/index.ts";
import { PosternError, type Prefix } from "../base/index.ts";
import { type AddressRange, differenceOf, toIntervals, toRanges } from "./address-range.ts";
import { FWMARK } from "./constants.ts";

export interface Guard {
  /**
   * From now on packets for these networks leave through the tunnel or not at all.
   *
   * @throws PosternError `host` when the kernel refuses
   */
  want(networks: readonly Prefix[]): void;
  close(): void;
}

/** Ranges of each of the sets. */
type Networks = readonly (readonly AddressRange[])[];

const CHAIN = "leaving";
const COUNTER = "stopped";
const SETS = [
  { name: "networks4", addressBytes: 4 },
  { name: "networks6", addressBytes: 16 },
] as const satisfies readonly NftSet[];

/** Intervals of one message, and messages of one transaction: together they fill a hundred KiB at most. */
const INTERVALS_MAX = 64;
const CHANGES_MAX = 24;

const DEVICE_NAME_BYTES = 16;
const IPPROTO_UDP = 17;
const IPPROTO_ICMPV6 = 58;
/** By which `meta nfproto` tells the families apart, and where their headers have the destination. */
const FAMILIES = {
  4: { protocol: 2, destinationAt: 16 },
  16: { protocol: 10, destinationAt: 24 },
} as const;

/** One table for each device: several instances may run. A name is made of letters, digits and `_`. */
export function guardTable(tunName: string): string {
  return `postern_guard_${tunName.replace(/[^a-zA-Z0-9]/g, "_")}`;
}

/** @throws PosternError `host` on a kernel without nftables */
export function createGuard(kernel: Kernel, tunName: string): Guard {
  const nftables = openNftables(kernel);
  const table = guardTable(tunName);
  /** What the sets hold; absent until the table is there. */
  let present: Networks | undefined;

  function commit(changes: readonly NftChange[]): Refusal | undefined {
    for (const some of portionsOf(changes, CHANGES_MAX)) {
      const refusal = nftables.commit(some);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  return {
    want(networks) {
      const wanted = SETS.map(({ addressBytes }) => toRanges(networks, addressBytes));
      const isUpdated = present !== undefined && commit(setChanges(table, present, wanted)) === undefined;
      present = isUpdated ? wanted : undefined;
      if (isUpdated) return;
      const refusal = commit([...guardChanges(tunName), ...setChanges(table, [], wanted)]);
      if (refusal !== undefined) {
        const what = `the kernel refuses the table inet ${table}: ${refusal.message}`;
        throw new PosternError("host", what, undefined, {
          cause: new SystemCallError("netlink", refusal.errno),
        });
      }
      present = wanted;
    },
    close: nftables.close,
  };
}

/** The table without networks, in place of one that a crash of an earlier version left behind. */
export function guardChanges(tunName: string): readonly NftChange[] {
  const table = guardTable(tunName);
  return [
    newTable(table, false),
    deleteTable(table),
    newTable(table, true),
    newCounter(table, COUNTER),
    ...SETS.map((set, i) => newSet(table, set, i + 1)),
    newChain(table, CHAIN),
    ...leavingRules(tunName).map((rule) => newRule(table, CHAIN, rule)),
    ...(["output", "forward"] as const).flatMap((hook) => [
      newChain(table, hook, hook),
      newRule(table, hook, [verdict({ jump: CHAIN })]),
    ]),
  ];
}

function leavingRules(tunName: string): readonly (readonly NftExpression[])[] {
  const pass = verdict("return");
  return [
    [loadMeta("mark"), compare("=", hostOrder(FWMARK)), pass],
    ...[tunName, "lo"].map((name) => [loadMeta("oifname"), compare("=", deviceName(name)), pass]),
    [loadDestinationType(), compare("≠", hostOrder(RTN_UNICAST)), pass],
    // Router and neighbour solicitations and advertisements; DHCP and DHCPv6.
    [...loadTransport(IPPROTO_ICMPV6, 0, 1), ...within(networkOrder(133, 1), networkOrder(136, 1)), pass],
    ...[67, 546].map((port) => [
      ...loadTransport(IPPROTO_UDP, 2, 2),
      ...within(networkOrder(port, 2), networkOrder(port + 1, 2)),
      pass,
    ]),
    ...SETS.map((set) => {
      const { protocol, destinationAt } = FAMILIES[set.addressBytes];
      return [
        loadMeta("nfproto"),
        compare("=", networkOrder(protocol, 1)),
        loadPayload("network", destinationAt, set.addressBytes),
        isIn(set),
        countBy(COUNTER),
        verdict("drop"),
      ];
    }),
  ];
}

/** What goes, goes first: nothing overlaps at any time. */
function setChanges(table: string, before: Networks, wanted: Networks): readonly NftChange[] {
  return SETS.flatMap((set, i) => {
    const { gone, added } = differenceOf(before[i] ?? [], wanted[i] ?? []);
    const intervals = (ranges: readonly AddressRange[]) =>
      portionsOf(toIntervals(ranges, set.addressBytes), INTERVALS_MAX);
    return [
      ...intervals(gone).map((some) => deleteIntervals(table, set, some)),
      ...intervals(added).map((some) => addIntervals(table, set, some)),
    ];
  });
}

function portionsOf<T>(all: readonly T[], most: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, i) => all.slice(i * most, (i + 1) * most));
}

function loadTransport(protocol: number, offset: number, lengthBytes: number): readonly NftExpression[] {
  return [
    loadMeta("l4proto"),
    compare("=", networkOrder(protocol, 1)),
    loadPayload("transport", offset, lengthBytes),
  ];
}

function within(first: Uint8Array, last: Uint8Array): readonly NftExpression[] {
  return [compare("≥", first), compare("≤", last)];
}

function hostOrder(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function networkOrder(value: number, lengthBytes: 1 | 2): Uint8Array {
  return lengthBytes === 1 ? new Uint8Array([value]) : new Uint8Array([value >> 8, value & 0xff]);
}

/** As the kernel compares whole names. */
function deviceName(name: string): Uint8Array {
  const bytes = new Uint8Array(DEVICE_NAME_BYTES);
  bytes.set(new TextEncoder().encode(name).subarray(0, DEVICE_NAME_BYTES - 1));
  return bytes;
}
