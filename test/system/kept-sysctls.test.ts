import { afterEach, beforeEach, expect, it } from "vitest";
import { SILENT } from "../../src/base/index.ts";
import { readKeptSysctls, reportKeptSysctls, writeSysctl } from "../../src/host/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, type OwnNamespace } from "./own-namespace.ts";

let host: OwnNamespace;

beforeEach(() => {
  host = createNamespace();
});
afterEach(() => host.close());

/** What is logged at the end after `change` was made. */
function reported(change: () => void): readonly unknown[] {
  const lines: unknown[] = [];
  host.enter(() => {
    const before = readKeptSysctls();
    change();
    reportKeptSysctls(before, {
      info: (event, fields) => void lines.push([event, fields]),
      scope: () => SILENT,
    });
  });
  return lines;
}

describeWith(["netns"], "what stays on a host", () => {
  it("PG-15: kernel parameters that were changed are named at the end, with what they were", () => {
    const lines = reported(() => {
      writeSysctl("net/ipv4/ip_forward", "1");
      writeSysctl("net/ipv4/conf/all/src_valid_mark", "1");
    });
    expect(lines).toEqual([
      [
        "kernel parameters stay as they were set",
        {
          parameters: ["net.ipv4.conf.all.src_valid_mark=1 (was 0)", "net.ipv4.ip_forward=1 (was 0)"],
        },
      ],
    ]);
  });

  it("PG-15: where nothing was changed nothing is said", () => {
    expect(reported(() => void writeSysctl("net/ipv4/ip_forward", "0"))).toEqual([]);
  });
});
