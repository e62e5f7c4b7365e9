/** What `postern bench` measures beside itself (PG-200): that OpenVPN has the cipher that the table says. */
import { afterEach, expect, it } from "vitest";
import { findHelper } from "../../src/host/index.ts";
import { OPENVPN_ARMS, openVpn } from "../../src/program/bench/arms.ts";
import { createLab, type Lab } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const PAYLOAD_BYTES = 1392;

describeWith(["root", "netns", "tun", "openssl", "openvpn"], "OpenVPN beside us", () => {
  let lab: Lab | undefined;
  afterEach(() => lab?.close());

  it("PG-200: two tunnels at once, each with its cipher, carry packets as large as asked for", {
    timeout: 60_000,
  }, async () => {
    lab = createLab();
    const program = findHelper("openvpn") ?? "";
    for (const cipher of ["aes-256-gcm", "chacha20-poly1305"] as const) {
      const arm = await openVpn(program, "2.6", cipher)(lab, { mtu: PAYLOAD_BYTES + 28 });
      expect(arm).toMatchObject({ name: OPENVPN_ARMS[cipher].name, title: OPENVPN_ARMS[cipher].title });
      expect(arm.note).toMatch(new RegExp(`^2\\.6, ${cipher} \\(.*\\) over UDP`, "i"));
      const large = ["-n", "-c", "1", "-W", "5", "-M", "do", "-s", String(PAYLOAD_BYTES), arm.address];
      expect(await arm.near.run("ping", large)).toContain("1 received");
      // Each end says what it has agreed on, in words that differ from version to version.
      for (const child of arm.programs)
        expect(child.stdout()).toMatch(new RegExp(`data channel.*cipher '${cipher}'`, "i"));
    }
  });
});
