/** The guard against packets that leave past the tunnel, on a kernel that refuses (PG-154). */
import { expect, it } from "vitest";
import type { ErrnoName } from "../../../../bindings/linux/index.ts";
import { type Log, prefix, SILENT } from "../../../../src/base/index.ts";
import { createHostGuard } from "../../../../src/program/endpoint/host-guard.ts";
import { createUndoStack } from "../../../../src/program/shell/index.ts";
import { message, scriptedNetlink, verdict } from "../../bindings/linux/scripted-netlink.ts";

const BATCH_BEGIN = 16;
const NEW_GENERATION = (10 << 8) | 15;
const NETWORKS = [prefix("172.20.0.0/16")];

/** @param refuse what the kernel says to the nth transaction */
function rig(refuse: (nth: number) => ErrnoName | undefined) {
  let transactions = 0;
  const kernel = scriptedNetlink({
    answer(sequence, nth) {
      const isTransaction =
        kernel.requests.findLast(({ type }) => type === BATCH_BEGIN) !== undefined && nth > 1;
      if (!isTransaction) return [message(NEW_GENERATION, sequence), verdict(sequence)];
      // The last message of a transaction ends it, and is not acknowledged.
      return [verdict(sequence - 1, refuse(++transactions))];
    },
  });
  const said: string[] = [];
  const note =
    (level: string): NonNullable<Log["warn"]> =>
    (event) =>
      void said.push(`${level} ${event}`);
  const undo = createUndoStack(SILENT);
  // Of the device its name is all that is asked for.
  const tun = { name: "pt0" } as Parameters<typeof createHostGuard>[0]["host"]["tun"];
  const log = { ...SILENT, warn: note("WARN"), info: note("INFO") };
  const guard = createHostGuard({ host: { kernel, tun }, undo, log });
  return { guard, kernel, said, undo, transactions: () => transactions };
}

it("PG-154: what is short is told as a WARN, and set as soon as it is not", async () => {
  const { guard, said, kernel, undo, transactions } = rig((nth) => (nth <= 2 ? "ENOMEM" : undefined));
  guard.want(NETWORKS);
  guard.catchUp();
  expect(said).toEqual([
    "WARN packets may leave past the tunnel: tried again",
    "WARN packets may leave past the tunnel: tried again",
  ]);
  guard.catchUp();
  expect(transactions()).toBe(3);
  guard.catchUp();
  expect(transactions()).toBe(3);
  await undo.run();
  expect(kernel.open.size).toBe(0);
});

it("PG-154: what is short is not owed any more once something else was wanted and set", () => {
  const { guard, transactions } = rig((nth) => (nth === 1 ? "ENOMEM" : undefined));
  guard.want(NETWORKS);
  guard.want([prefix("172.21.0.0/16")]);
  expect(transactions()).toBe(2);
  guard.catchUp();
  expect(transactions()).toBe(2);
});

it("PG-154: a kernel without nftables is told once as an INFO, and asked no more", () => {
  const { guard, said, kernel, transactions } = rig(() => "EOPNOTSUPP");
  for (let i = 0; i < 3; i++) guard.want(NETWORKS);
  guard.catchUp();
  expect(said).toEqual(["INFO packets are not kept from leaving past the tunnel"]);
  expect(transactions()).toBe(1);
  expect(kernel.open.size).toBe(0);
});

it("PG-154: a table that cannot be changed any more goes, as it would stop what leaves directly", async () => {
  const { guard, said, kernel, undo } = rig((nth) => (nth === 1 ? undefined : "EINVAL"));
  guard.want(NETWORKS);
  expect([said, kernel.open.size]).toEqual([[], 1]);
  guard.want([prefix("172.21.0.0/16")]);
  expect(said).toEqual(["WARN packets are not kept from leaving past the tunnel"]);
  expect(kernel.open.size).toBe(0);
  // At the end the number of its socket is another one's.
  await undo.run();
  expect(kernel.closedAgain).toEqual([]);
});
