/** What the host does not let us repair, for good or for a moment (PG-153, PG-210). */
import { expect, it } from "vitest";
import { type ErrnoName, errnoNumber, type Rtnetlink } from "../../../bindings/linux/index.ts";
import { type Instant, instant, ip, type Log, SILENT } from "../../../src/base/index.ts";
import { policyRules, type WantedHost } from "../../../src/host/index.ts";
import { createHostKeeper } from "../../../src/program/shell/index.ts";

const LINK = { index: 9, name: "pt0", mtu: 1280, txQueueLength: 1000, addresses: [] };
const ADDRESS = { address: ip("100.64.0.1"), bits: 32 };
const WANTED: WantedHost = {
  link: { ...LINK, addresses: [ADDRESS] },
  rules: policyRules(4),
  routes: [],
  parameters: [],
};

/** A host whose device has lost its address. @param refuse what the kernel says to the nth attempt to add it */
function rig(refuse: (nth: number) => ErrnoName | undefined) {
  let now: Instant = instant(0);
  let [attempts, has] = [0, false];
  const rtnetlink: Partial<Rtnetlink> = {
    links: () => [{ ...LINK, isUp: true, isLoopback: false, isOperational: true }],
    addresses: () =>
      has ? [{ index: 9, ...ADDRESS, scope: 0, isTentative: false, isDeprecated: false }] : [],
    rules: (family) => policyRules(family),
    routes: () => [],
    addAddress() {
      const name = refuse(++attempts);
      has = name === undefined;
      return name && { errno: errnoNumber(name), message: name };
    },
  };
  const said: string[] = [];
  const note: NonNullable<Log["warn"]> = (event) => void said.push(event);
  // Of the host this is all that is asked for.
  const host = { rtnetlink, now: () => now } as Parameters<typeof createHostKeeper>[0];
  const keeper = createHostKeeper(host, { ...SILENT, warn: note, error: note });
  keeper.want(WANTED);
  const look = (ms: number, isTold = false): void => {
    now = instant(ms);
    keeper.look(isTold ? [{ kind: "address", index: 9 }] : []);
  };
  return { look, said, attempts: () => attempts };
}

const REPAIRED = "host state repaired: 100.64.0.1 is gone from pt0";

it("PG-210: what the kernel is too short of something for is repaired with a later look", () => {
  const { look, said } = rig((nth) => (nth <= 4 ? "ENOMEM" : undefined));
  look(0, true);
  for (let ms = 5_000; ms <= 20_000; ms += 5_000) look(ms);
  expect(said).toEqual([...Array(4).fill("host state cannot be repaired: tried again"), REPAIRED]);
});

it("PG-153: what the host refuses for another reason is said once, and left", () => {
  const { look, said, attempts } = rig(() => "EPERM");
  look(0, true);
  for (let ms = 5_000; ms <= 120_000; ms += 5_000) look(ms, true);
  expect([said, attempts()]).toEqual([["host state cannot be repaired"], 1]);
});
