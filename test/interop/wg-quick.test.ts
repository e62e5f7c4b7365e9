/** The table of odd configuration files is what wg-quick says (WG-73): some files here, all by `test:long`. */
import { afterAll, expect, it } from "vitest";
import { createLab } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { observe, otherTools, TABLE } from "../lib/wg-quick-table.ts";

const EVERY = 32;
const WITHIN_MS = 120_000;
const reason = otherTools();
const suffix = reason === undefined ? "" : ` (${reason})`;

describeWith(["root", "netns", "tun", "ipv6", "wg", "wireguard-go"], "wg-quick", () => {
  const lab = createLab();
  afterAll(() => lab.close());

  it.skipIf(reason !== undefined)(
    `WG-73: judges as the table says${suffix}`,
    { timeout: WITHIN_MS },
    async () => {
      const names = Object.keys(TABLE.files).filter((_, i) => i % EVERY === 0);
      const { files } = await observe(await lab.add("odd"), names, WITHIN_MS);
      expect(files).toEqual(Object.fromEntries(names.map((name) => [name, TABLE.files[name]])));
    },
  );
});
