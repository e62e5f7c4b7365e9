/** `postern gateway setup` and `teardown`, in a network namespace of their own (PG-68). */

import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { postern } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const POSTERN = postern().join(" ");

function inside(script: string, env: Record<string, string> = {}) {
  const shell = ["--net", "sh", "-ec", script];
  return spawnSync("unshare", shell, { encoding: "utf8", env: { ...process.env, ...env }, timeout: 60_000 });
}

describeWith(["root", "nft", "build"], "forwarding without a gateway", () => {
  it("PG-68, PG-69: setup switches forwarding on and masquerades, as often as it is called; teardown removes the rules", () => {
    const { stdout, stderr, status } = inside(`
      echo 0 > /proc/sys/net/ipv4/ip_forward
      ${POSTERN} gateway setup
      ${POSTERN} gateway setup
      cat /proc/sys/net/ipv4/ip_forward
      nft list tables
      nft list chain inet postern postrouting
      ${POSTERN} gateway teardown
      echo "left: $(nft list tables)"
    `);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^1\ntable inet postern\n/);
    expect(stdout).toContain('ip saddr 100.64.0.0/11 oifname != { "lo", "tun-postern" } masquerade');
    expect(stdout).toMatch(/^left: $/m);
  });

  it.each([
    ["the transaction", "-f"],
    ["the list of what is there", "-j"],
  ])("PG-69: a teardown whose nft fails at %s is a failure, and says what may stay", (_, failing) => {
    const { stdout, stderr, status } = inside(`
      ${POSTERN} gateway setup
      folder=$(mktemp -d)
      trap 'rm -r "$folder"' EXIT
      nft=$(command -v nft)
      cat > "$folder/nft" <<END
#!/bin/sh
[ "\\$1" = ${failing} ] && { echo "no memory" >&2; exit 1; }
exec "$nft" "\\$@"
END
      chmod +x "$folder/nft"
      PATH="$folder:$PATH" ${POSTERN} gateway teardown || echo "exit $?"
      ${POSTERN} gateway teardown
      echo "left: $(nft list tables)"
    `);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^exit 8$/m);
    expect(stderr).toMatch(/^postern: the firewall's rules may stay: .*no memory/m);
    expect(stderr).toContain("nft delete table inet postern");
    expect(stdout).toMatch(/^left: $/m);
  });

  it("PG-68: with --masquerade off there is nothing to set up", () => {
    const { stdout, status } = inside(`${POSTERN} gateway setup; nft list tables`, {
      POSTERN_MASQUERADE: "off",
    });
    expect([status, stdout]).toEqual([0, ""]);
  });
});
