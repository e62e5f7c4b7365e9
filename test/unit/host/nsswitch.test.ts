import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asksMulticastFirst } from "../../../src/host/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nsswitch-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("nsswitch.conf", () => {
  it.each([
    ["Debian's with Avahi", "hosts: files mdns4_minimal [NOTFOUND=return] dns mymachines", true],
    ["mDNS alone", "hosts:\tfiles mdns", true],
    ["mDNS behind DNS", "hosts: files dns mdns4", false],
    ["resolved before mDNS", "hosts: files resolve [!UNAVAIL=return] mdns4_minimal dns", false],
    ["none", "passwd: files\nhosts: files dns", false],
    ["a remark", "hosts: files dns # mdns4_minimal\n#hosts: mdns dns", false],
    ["nothing", "", false],
  ])("DN-110: %s", (_, text, isFirst) => {
    const path = join(folder, "nsswitch.conf");
    writeFileSync(path, `${text}\n`);
    expect(asksMulticastFirst(path)).toBe(isFirst);
  });

  it("DN-110: a host without the file asks DNS", () => {
    expect(asksMulticastFirst(join(folder, "absent"))).toBe(false);
  });
});
