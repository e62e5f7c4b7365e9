/** The whole table of odd configuration files is what wg-quick says (WG-73). Takes some minutes. */
import { afterAll, expect, it } from "vitest";
import { createLab } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { observe, otherTools, TABLE } from "../lib/wg-quick-table.ts";

const WITHIN_MS = 1_800_000;
const reason = otherTools();
const suffix = reason === undefined ? "" : ` (${reason})`;

describeWith(["root", "netns", "tun", "ipv6", "wg", "wireguard-go"], "wg-quick", () => {
  const lab = createLab();
  afterAll(() => lab.close());

  it.skipIf(reason !== undefined)(
    `WG-73: judges as the table says${suffix}`,
    { timeout: WITHIN_MS },
    async () => {
      const table = await observe(await lab.add("odd"), Object.keys(TABLE.files), WITHIN_MS);
      expect(table).toEqual(TABLE);
    },
  );
});
