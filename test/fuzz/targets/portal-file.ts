/** The portal's file, YAML (PT-112): read, or refused with positions in it. */
import { parsePortalFile } from "../../../src/portal/config/index.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

const HASH = `sha256:${"7c6cb250fab2df82".repeat(4)}`;
const FILE = `version: 1
account: { slug: lab }
sites:
  - name: Berlin
    gateway_tokens: [{ name: gw, hash: "${HASH}" }]
actors:
  - { name: ci, type: service_account, tokens: [{ name: ci, hash: "${HASH.replace("7c", "8c")}" }] }
groups: [{ name: Ops, members: [ci] }]
resources:
  - { name: Office, type: cidr, address: 172.20.0.0/16, site: Berlin }
  - { name: Web, type: dns, address: "*.corp.example", site: Berlin, filters: [{ protocol: tcp, ports: ["80"] }] }
policies:
  - group: Ops
    resource: Office
    conditions:
      - property: current_utc_datetime
        operator: is_in_day_of_week_time_ranges
        values: [M/9:00-17:00/UTC]
`;

export function createTarget(): FuzzTarget {
  const options = { readEnv: () => undefined, readFile: () => undefined };
  return {
    seeds: [FILE, "version: 1\n", "version: 1\naccount:\n  ? [a]\n  : 1\n"].map(bytesOf),
    words: [
      ...[
        "&a ",
        "*a",
        "<<: *a",
        "!!js ",
        "- ",
        "? ",
        ": ",
        "|\n",
        ">\n",
        "null",
        "~",
        "[[[[",
        "{{",
        '"',
        "%YAML 1.1\n",
      ],
      ...[
        "type: dns",
        "type: ip",
        "type: internet",
        "filters:",
        "ports:",
        "env:",
        "file:",
        "token:",
        "members:",
      ],
      ...["remote_ip", "is_in", "country", "\n  ", "---\n", "...\n", "0x10", "1e3", ".inf", "2001:db8::/32"],
    ],
    bytesMax: 2500,
    run(input) {
      const text = textOf(input);
      const result = parsePortalFile(text, options);
      if (result.ok) return;
      claim(result.issues.length > 0, "a refusal has a reason");
      const lines = text.split(/\r\n|\r|\n/).length;
      for (const { line, column, message } of result.issues) {
        claim(line >= 1 && line <= lines + 1, `line ${line} of ${lines}`);
        claim(column >= 1 && message !== "", "column and text");
      }
    },
  };
}
