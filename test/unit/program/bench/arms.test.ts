import { describe, expect, it } from "vitest";
import { openVpnTraits } from "../../../../src/program/bench/arms.ts";

describe("PG-200: what is said of OpenVPN", () => {
  it("its version, where it is known, and its cipher", () => {
    expect(openVpnTraits("2.6.14", "aes-256-gcm", "2026-12-01 TUN/TAP device bench0 opened\n")).toEqual({
      note: "2.6.14, AES-256-GCM (its default) over UDP, no compression",
    });
    expect(openVpnTraits(undefined, "chacha20-poly1305", "").note).toMatch(/^ChaCha20-Poly1305 /);
  });

  it("that the kernel carries its packets, whose processor time is not the program's", () => {
    const { note, isInKernel } = openVpnTraits(
      "2.6.14",
      "aes-256-gcm",
      "2026-12-01 DCO device bench0 opened\n",
    );
    expect(isInKernel).toBe(true);
    expect(note).toMatch(/; in the kernel \(DCO\), so that its CPU time is not known$/);
  });
});
