/**
 * Style §10, D-4: what exists in two languages. The one is in the plane, the other is readable; where
 * control needs it too, the readable one lies in `src`. There is no third copy.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, ROOT, sourcesBelow } from "./house/sources.ts";

interface Twin {
  readonly twin: string;
  /** Compares the two on random and hostile input. */
  readonly test: string;
}

const AEAD: Twin = { twin: "test/unit/crypto/twin.ts", test: "test/unit/crypto/aead.test.ts" };

/** Compared by the storms on everything that goes into the plane. */
const inStorms = (name: string): Twin => ({ twin: `test/twin/plane/${name}.ts`, test: "test/fuzz/storm.ts" });

const HANDSHAKE: Twin = {
  twin: "src/wireguard/noble-crypto.ts",
  test: "test/unit/crypto/handshake-macs.test.ts",
};

const RELAY: Twin = { twin: "test/twin/relay/relay.ts", test: "test/fuzz/relay.test.ts" };

const TWINS: Readonly<Record<string, Twin>> = {
  "assembly/crypto/aead-jsc.ts": AEAD,
  "assembly/crypto/aead-turbofan.ts": AEAD,
  "assembly/crypto/aead-turboshaft.ts": AEAD,
  "assembly/crypto/aead-wide.ts": AEAD,
  "assembly/crypto/blake2s.ts": HANDSHAKE,
  "assembly/crypto/xaead.ts": HANDSHAKE,
  "assembly/packet/checksum.ts": {
    twin: "src/packet/checksum.ts",
    test: "test/unit/plane/checksum.test.ts",
  },
  "assembly/packet/ip.ts": { twin: "src/packet/ip.ts", test: "test/unit/plane/validate.test.ts" },
  "assembly/packet/resolver.ts": {
    twin: "test/twin/plane/policy.ts",
    test: "test/unit/plane/resolver.test.ts",
  },
  "assembly/packet/icmp.ts": { twin: "src/packet/icmp.ts", test: "test/unit/plane/icmp.test.ts" },
  "assembly/packet/ecn.ts": inStorms("congestion"),
  "assembly/packet/rewrite.ts": { twin: "src/packet/rewrite.ts", test: "test/unit/packet/rewrite.test.ts" },
  "assembly/packet/mss.ts": { twin: "test/twin/plane/mss.ts", test: "test/unit/plane/mss.test.ts" },
  "assembly/packet/verify.ts": {
    twin: "test/twin/plane/verify.ts",
    test: "test/unit/plane/verify.test.ts",
  },
  "assembly/segment/split.ts": {
    twin: "test/twin/plane/split.ts",
    test: "test/unit/plane/split.test.ts",
  },
  "assembly/segment/coalesce.ts": {
    twin: "test/twin/plane/coalesce.ts",
    test: "test/unit/plane/coalesce.test.ts",
  },
  "assembly/table/activity.ts": inStorms("peer"),
  "assembly/table/flow.ts": inStorms("flows"),
  "assembly/table/fragment.ts": inStorms("fragments"),
  "assembly/table/host-table.ts": inStorms("policy"),
  "assembly/table/range-set.ts": inStorms("policy"),
  "assembly/table/replay-window.ts": {
    twin: "test/twin/plane/replay-window.ts",
    test: "test/unit/plane/replay-window.test.ts",
  },
  "assembly/table/session.ts": inStorms("peer"),
  "assembly/batch/demux.ts": inStorms("demux"),
  "assembly/batch/egress.ts": inStorms("egress"),
  "assembly/batch/fit.ts": inStorms("fit"),
  "assembly/batch/flow.ts": inStorms("flows"),
  "assembly/batch/ingress.ts": inStorms("ingress"),
  "assembly/batch/policy.ts": inStorms("policy"),
  "assembly/batch/punt.ts": inStorms("worker"),
  "assembly/batch/send.ts": inStorms("egress"),
  "assembly/guard/budget.ts": inStorms("guard"),
  "assembly/guard/cookie.ts": HANDSHAKE,
  "assembly/guard/flood.ts": { twin: "test/twin/plane/flood.ts", test: "test/unit/plane/flood.test.ts" },
  "assembly/guard/guard.ts": inStorms("guard"),
  "assembly/guard/known-source.ts": inStorms("guard"),
  "assembly/ring.ts": inStorms("ring"),
  "assembly/relay/client.ts": RELAY,
  "assembly/relay/peer.ts": RELAY,
  "assembly/relay/send.ts": RELAY,
  "assembly/relay/table.ts": RELAY,
  "assembly/relay/whole.ts": RELAY,
};

/** Files of these rooms that compute nothing of which a second form would be simpler. */
const WITHOUT: Readonly<Record<string, string>> = {
  "assembly/batch/ahead.ts":
    "foresees counters; what is sealed so, test/unit/plane/seal-ahead.test.ts compares",
  "assembly/crypto/aead-tables.ts": "constants",
  "assembly/crypto/exports.ts": "hands over",
  "assembly/crypto/index.ts": "hands over",
  "assembly/crypto/state.ts": "tested as a part of the AEAD",
  "assembly/guard/replies.ts": "one share by counts, whose values stand in test/unit/plane/guard.test.ts",
  "assembly/packet/extension.ts": "tested as a part of ip.ts and icmp.ts",
  "assembly/relay/activity.ts": "counts",
  "assembly/relay/index.ts": "hands over",
  "assembly/relay/loop.ts": "runs the others, in test/unit/plane/relay.test.ts on a scripted kernel",
  "assembly/relay/receive.ts": "reads what the kernel says, there too",
  "assembly/relay/transmit.ts": "hands sends to the kernel, there too",
  "assembly/segment/vnet.ts": "constants",
};

const TESTS = new Map(sourcesBelow("test").map((source) => [source.path, source]));

/** Everything that a test brings in, through its imports. */
function reachedFrom(test: string): ReadonlySet<string> {
  const reached = new Set([test]);
  for (const path of reached) {
    for (const { target, isOurs } of TESTS.get(path)?.imports ?? []) if (isOurs) reached.add(target);
  }
  return reached;
}

it.each(Object.entries(TWINS))("D-4: %s has a twin that a test compares it with", (path, { twin, test }) => {
  expect(existsSync(join(ROOT, twin)), twin).toBe(true);
  expect(readFileSync(join(ROOT, path), "utf8")).toContain(twin);
  expect(reachedFrom(test)).toContain(twin);
});

it("D-4: every file of the rooms that decide about packets is accounted for", () => {
  const rooms = ["batch", "crypto", "guard", "packet", "relay", "segment", "table"].map(
    (room) => `assembly/${room}`,
  );
  const files = [...rooms.flatMap(filesBelow), "assembly/ring.ts"];
  expect([...Object.keys(TWINS), ...Object.keys(WITHOUT)].sort()).toEqual(files.sort());
});

describe("SN-130: there is no third copy", () => {
  const all = ["src", "bindings", "assembly", "test"]
    .flatMap(sourcesBelow)
    .filter(({ path }) => path !== "test/unit/twins.test.ts");

  it("WG-48: the replay window exists in the plane and in its twin, and nowhere else", () => {
    const windows = all
      // Its size as a constant, or a window made: lists of numbers and names of fields are neither.
      .filter(({ text }) =>
        /(?:const|:) ?\w*WINDOW\w*.*\b8128|function (?:create)?(?:isFresh|ReplayWindow)\b/.test(text),
      )
      .map(({ path }) => path);
    expect(windows.sort()).toEqual([
      "assembly/layout.ts",
      "assembly/table/replay-window.ts",
      "test/twin/plane/replay-window.ts",
    ]);
  });

  it("one plane of each kind: nobody but the twin obeys the plane's commands in a way of its own", () => {
    const obeying = all.filter(({ text }) => /case "arm-watch":/.test(text)).map(({ path }) => path);
    expect(obeying).toEqual(["bindings/plane/plane.ts", "test/twin/plane/twin.ts"]);
  });
});
