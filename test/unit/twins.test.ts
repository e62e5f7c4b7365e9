/**
 * Style §10, D-4: what exists in two languages. The one is in the plane, the other is readable; where
 * control needs it too, the readable one lies in `src`. There is no third copy.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { filesBelow, ROOT } from "./house/sources.ts";

interface Twin {
  readonly twin: string;
  /** Compares the two on random and hostile input. */
  readonly test: string;
}

const AEAD: Twin = { twin: "test/unit/crypto/twin.ts", test: "test/unit/crypto/aead.test.ts" };

const TWINS: Readonly<Record<string, Twin>> = {
  "assembly/crypto/aead-jsc.ts": AEAD,
  "assembly/crypto/aead-turbofan.ts": AEAD,
  "assembly/crypto/aead-turboshaft.ts": AEAD,
  "assembly/crypto/aead-wide.ts": AEAD,
  "assembly/packet/checksum.ts": {
    twin: "src/packet/checksum.ts",
    test: "test/unit/plane/checksum.test.ts",
  },
  "assembly/packet/ip.ts": { twin: "src/packet/ip.ts", test: "test/unit/plane/validate.test.ts" },
  "assembly/packet/icmp.ts": { twin: "src/packet/icmp.ts", test: "test/unit/plane/icmp.test.ts" },
  "assembly/segment/split.ts": {
    twin: "test/twin/plane/split.ts",
    test: "test/unit/plane/split.test.ts",
  },
  "assembly/segment/coalesce.ts": {
    twin: "test/twin/plane/coalesce.ts",
    test: "test/unit/plane/coalesce.test.ts",
  },
};

/** Files of these rooms that compute nothing of which a second form would be simpler. */
const WITHOUT: Readonly<Record<string, string>> = {
  "assembly/crypto/aead-tables.ts": "constants",
  "assembly/crypto/exports.ts": "hands over",
  "assembly/crypto/index.ts": "hands over",
  "assembly/crypto/state.ts": "tested as a part of the AEAD",
  "assembly/packet/ecn.ts": "every input is tried",
  "assembly/packet/extension.ts": "tested as a part of ip.ts and icmp.ts",
  "assembly/segment/vnet.ts": "constants",
};

it.each(Object.entries(TWINS))("D-4: %s has a twin that a test compares it with", (path, { twin, test }) => {
  expect(existsSync(join(ROOT, twin)), twin).toBe(true);
  expect(readFileSync(join(ROOT, path), "utf8")).toContain(twin);
  expect(readFileSync(join(ROOT, test), "utf8")).toMatch(new RegExp(`/${basename(twin)}"`));
});

it("D-4: every file of crypto, packet and segment is accounted for", () => {
  const files = ["assembly/crypto", "assembly/packet", "assembly/segment"].flatMap(filesBelow);
  expect([...Object.keys(TWINS), ...Object.keys(WITHOUT)].sort()).toEqual(files.sort());
});
