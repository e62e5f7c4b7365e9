import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { createDnsNat, type DnsNat, type NatKey } from "../../../src/tunnel/dns-nat.ts";
import fc from "../../lib/property.ts";

const KEY: NatKey = { gid: "g", rid: "r", domain: "example.com" };
const OTHER: NatKey = { ...KEY, domain: "example.net" };
const at = instant;

/** IPv4 with protocol 253: numbered, so that no two are alike. */
function packet(number: number): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes.set([0x45, 0, 0, bytes.length, 0, 0, 0, 0, 64, 253]);
  new DataView(bytes.buffer).setUint32(20, number);
  return bytes;
}

function sends(nat: DnsNat): readonly NatKey[] {
  const keys: NatKey[] = [];
  for (let key = nat.pollSend(); key !== undefined; key = nat.pollSend()) keys.push(key);
  return keys;
}

/** Everything is told at 0, by what leads there. */
const STATES = {
  none: () => {},
  "pending, holding": (nat) => void nat.update(at(0), KEY),
  "pending, not holding": (nat) => {
    STATES.confirmed(nat);
    nat.query(KEY);
    nat.update(at(0), KEY);
  },
  "recreating, holding": (nat) => {
    STATES.failed(nat);
    nat.query(KEY);
  },
  "recreating, not holding": (nat) => {
    STATES.confirmed(nat);
    nat.query(KEY);
  },
  confirmed: (nat) => {
    nat.update(at(0), KEY);
    nat.status(KEY, true);
  },
  failed: (nat) => {
    nat.update(at(0), KEY);
    nat.status(KEY, false);
  },
} satisfies Record<string, (nat: DnsNat) => void>;

type StateName = keyof typeof STATES;

function natIn(name: StateName): DnsNat {
  const nat = createDnsNat();
  STATES[name](nat);
  sends(nat);
  return nat;
}

function nameOf(nat: DnsNat): StateName {
  const state = nat.stateOf(KEY);
  switch (state?.kind) {
    case undefined:
      return "none";
    case "pending":
      return state.held === undefined ? "pending, not holding" : "pending, holding";
    case "recreating":
      return state.isHolding ? "recreating, holding" : "recreating, not holding";
    default:
      return state?.kind ?? "none";
  }
}

/** The cells of TN-46: the next state, and whether an event goes out. */
const INPUTS = {
  "U within 2 s": (nat) => nat.update(at(1_999), KEY).kind,
  "U after 2 s": (nat) => nat.update(at(2_000), KEY).kind,
  R: (nat) => {
    nat.query(KEY);
    return "none";
  },
  "P within 2 s": (nat) => nat.packet(at(1_999), KEY, packet(1)),
  "P after 2 s": (nat) => nat.packet(at(2_000), KEY, packet(1)),
  Active: (nat) => nat.status(KEY, true).kind,
  Inactive: (nat) => nat.status(KEY, false).kind,
} satisfies Record<string, (nat: DnsNat) => string>;

type Cell = readonly [next: StateName, sent: number, says: string];

const TABLE: Readonly<Record<StateName, Readonly<Record<keyof typeof INPUTS, Cell>>>> = {
  none: {
    "U within 2 s": ["pending, holding", 1, "holds"],
    "U after 2 s": ["pending, holding", 1, "holds"],
    R: ["none", 0, "none"],
    "P within 2 s": ["pending, holding", 1, "held"],
    "P after 2 s": ["pending, holding", 1, "held"],
    Active: ["none", 0, "none"],
    Inactive: ["none", 0, "none"],
  },
  "pending, holding": {
    "U within 2 s": ["pending, holding", 0, "none"],
    "U after 2 s": ["pending, holding", 1, "none"],
    R: ["pending, holding", 0, "none"],
    "P within 2 s": ["pending, holding", 0, "held"],
    "P after 2 s": ["pending, holding", 1, "held"],
    Active: ["confirmed", 0, "released"],
    Inactive: ["failed", 0, "released"],
  },
  "pending, not holding": {
    "U within 2 s": ["pending, not holding", 0, "none"],
    "U after 2 s": ["pending, not holding", 1, "none"],
    R: ["pending, not holding", 0, "none"],
    "P within 2 s": ["pending, not holding", 0, "passes"],
    "P after 2 s": ["pending, not holding", 1, "passes"],
    Active: ["confirmed", 0, "none"],
    Inactive: ["failed", 0, "none"],
  },
  "recreating, holding": {
    "U within 2 s": ["pending, holding", 1, "holds"],
    "U after 2 s": ["pending, holding", 1, "holds"],
    R: ["recreating, holding", 0, "none"],
    "P within 2 s": ["recreating, holding", 0, "passes"],
    "P after 2 s": ["recreating, holding", 0, "passes"],
    Active: ["confirmed", 0, "none"],
    Inactive: ["failed", 0, "none"],
  },
  "recreating, not holding": {
    "U within 2 s": ["pending, not holding", 1, "none"],
    "U after 2 s": ["pending, not holding", 1, "none"],
    R: ["recreating, not holding", 0, "none"],
    "P within 2 s": ["recreating, not holding", 0, "passes"],
    "P after 2 s": ["recreating, not holding", 0, "passes"],
    Active: ["confirmed", 0, "none"],
    Inactive: ["failed", 0, "none"],
  },
  confirmed: {
    "U within 2 s": ["confirmed", 0, "none"],
    "U after 2 s": ["confirmed", 0, "none"],
    R: ["recreating, not holding", 0, "none"],
    "P within 2 s": ["confirmed", 0, "passes"],
    "P after 2 s": ["confirmed", 0, "passes"],
    Active: ["confirmed", 0, "none"],
    Inactive: ["failed", 0, "none"],
  },
  failed: {
    "U within 2 s": ["failed", 0, "none"],
    "U after 2 s": ["failed", 0, "none"],
    R: ["recreating, holding", 0, "none"],
    "P within 2 s": ["failed", 0, "passes"],
    "P after 2 s": ["failed", 0, "passes"],
    Active: ["confirmed", 0, "none"],
    Inactive: ["failed", 0, "none"],
  },
};

const CELLS = (Object.keys(STATES) as StateName[]).flatMap((state) =>
  (Object.keys(INPUTS) as (keyof typeof INPUTS)[]).map((input) => [state, input] as const),
);

describe("the table of TN-46", () => {
  it.each(CELLS)("TN-46: %s, %s", (state, input) => {
    const nat = natIn(state);
    const [next, sent, says] = TABLE[state][input];
    expect(INPUTS[input](nat)).toBe(says);
    expect(nameOf(nat)).toBe(next);
    expect(sends(nat)).toEqual(Array.from({ length: sent }, () => KEY));
  });

  it("TN-46: a sending starts the 2 s anew", () => {
    const nat = natIn("pending, holding");
    nat.update(at(2_000), KEY);
    nat.update(at(3_999), KEY);
    expect(sends(nat)).toHaveLength(1);
    nat.update(at(4_000), KEY);
    expect(sends(nat)).toHaveLength(1);
  });
});

describe("queries", () => {
  it("TN-47: a burst of A, AAAA and HTTPS queries for one name sends one event", () => {
    for (const state of ["none", "confirmed", "failed"] as const) {
      const nat = natIn(state);
      for (const ms of [0, 1, 2]) {
        nat.query(KEY);
        nat.updateAll(at(ms));
        nat.update(at(ms), KEY);
      }
      expect(sends(nat)).toEqual([KEY]);
    }
  });

  it("TN-47: an unrelated query sends again what is not answered, and nothing else", () => {
    const nat = createDnsNat();
    nat.update(at(0), KEY);
    nat.update(at(0), OTHER);
    nat.status(OTHER, true);
    sends(nat);
    nat.updateAll(at(1_999));
    expect(sends(nat)).toEqual([]);
    nat.updateAll(at(2_000));
    expect(sends(nat)).toEqual([KEY]);
  });

  it("TN-48: an unrelated query does not wake a name that failed; one for it does, and packets wait", () => {
    const nat = natIn("failed");
    nat.query(OTHER);
    nat.updateAll(at(60_000));
    expect([nameOf(nat), sends(nat)]).toEqual(["failed", []]);
    nat.query(KEY);
    expect(nat.updateAll(at(60_000))).toEqual([KEY]);
    expect(nat.packet(at(60_000), KEY, packet(1))).toBe("held");
  });
});

describe("packets that wait", () => {
  it.each([true, false])("TN-46, TN-48: go on in order when the answer is %s", (isActive) => {
    const nat = createDnsNat();
    const packets = [1, 2, 3].map(packet);
    for (const one of packets) nat.packet(at(0), KEY, one);
    expect(nat.status(KEY, isActive)).toEqual({ kind: "released", packets });
    expect(nat.status(KEY, isActive)).toEqual({ kind: "none" });
  });

  it("TN-46: at most 32 for a name, the oldest goes first; a duplicate is not kept", () => {
    const nat = createDnsNat();
    for (let i = 1; i <= 33; i++) nat.packet(at(0), KEY, packet(i));
    nat.packet(at(0), KEY, packet(33));
    expect(nat.droppedPackets()).toBe(1);
    const change = nat.status(KEY, true);
    expect(change.kind === "released" && change.packets).toEqual(
      Array.from({ length: 32 }, (_, i) => packet(i + 2)),
    );
  });
});

describe("the end of states", () => {
  it("TN-49: per gateway, per resource and as a whole; what is not sent yet goes with them", () => {
    const keys = ["g", "h"].flatMap((gid) => ["r", "s"].map((rid) => ({ ...KEY, gid, rid })));
    const filled = (): DnsNat => {
      const nat = createDnsNat();
      for (const key of keys) nat.update(at(0), key);
      return nat;
    };
    const left = (nat: DnsNat) => keys.filter((key) => nat.stateOf(key) !== undefined);
    const byGateway = filled();
    byGateway.clearGateway("g");
    expect(left(byGateway)).toEqual(keys.filter(({ gid }) => gid === "h"));
    expect(sends(byGateway)).toEqual(left(byGateway));
    const byResource = filled();
    byResource.clearResource("s");
    expect(left(byResource)).toEqual(keys.filter(({ rid }) => rid === "r"));
    const all = filled();
    all.clear();
    expect([left(all), sends(all), all.updateAll(at(9_000))]).toEqual([[], [], []]);
  });
});

it("TN-46: whatever comes, every packet passes, waits and is released once, or is counted", () => {
  const input = fc.oneof(
    fc.record({ kind: fc.constant("packet" as const), ms: fc.nat(1_500) }),
    fc.record({ kind: fc.constant("query" as const), ms: fc.nat(1_500) }),
    fc.record({ kind: fc.constant("other" as const), ms: fc.nat(1_500) }),
    fc.record({ kind: fc.constant("status" as const), ms: fc.nat(1_500), isActive: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(input, { maxLength: 120 }), (inputs) => {
      const nat = createDnsNat();
      let now = 0;
      let lastSent = Number.NEGATIVE_INFINITY;
      let wasAsked = false;
      let [sent, passed, released] = [0, 0, 0];
      for (const one of inputs) {
        now += one.ms;
        if (one.kind === "packet") {
          if (nat.packet(at(now), KEY, packet(++sent)) === "passes") passed++;
        } else if (one.kind === "status") {
          const change = nat.status(KEY, one.isActive);
          if (change.kind === "released") released += change.packets.length;
          // A state that was answered may be asked for again at once.
          wasAsked = false;
        } else {
          if (one.kind === "query") nat.query(KEY);
          nat.updateAll(at(now));
        }
        const events = sends(nat).length;
        expect(events).toBeLessThanOrEqual(1);
        if (events === 0) continue;
        if (wasAsked) expect(now - lastSent).toBeGreaterThanOrEqual(2_000);
        [lastSent, wasAsked] = [now, true];
      }
      const state = nat.stateOf(KEY);
      const waiting = state?.kind === "pending" ? (state.held?.length ?? 0) : 0;
      expect(passed + released + waiting + nat.droppedPackets()).toBe(sent);
    }),
  );
});
