/** A browser opens a page of a name behind a gateway, over HTTP/2, and talks to it over a WebSocket. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeCertificate } from "../lib/certificate.ts";
import { type NameOffice, startNameOffice } from "../lib/name-office.ts";
import { OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SITE = "web.lab.example";
const WEB = join(import.meta.dirname, "../lib/web.mjs");
const QUIET = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...[
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
  ],
];
const NEEDS = ["netns", "tun", "nft", "ipv6", "build", "openssl", "unbound", "chromium"] as const;

describeWith(NEEDS, "a browser by name", () => {
  let office: Office;
  let names: NameOffice;

  beforeAll(async () => {
    names = await startNameOffice((made) => (office = made), {
      site: [`${SITE}. 60 IN A ${OFFICE_V4}`],
    });
    makeCertificate(office.resource.runFolder, SITE, `DNS:${SITE}`);
  }, 120_000);
  afterAll(() => office?.close());

  it("TN-46, DN-35: a page of 2 MB in parts over HTTP/2, and a WebSocket", { timeout: 90_000 }, async () => {
    const node = { name: "web", command: process.execPath, args: [WEB, "443", "/run"] };
    const web = office.resource.start(node);
    await web.waitForLine(/^serving$/, { withinMs: 15_000 });
    const own = ["--user-data-dir=/run/browser", "--ignore-certificate-errors"];
    // Its helpers outlive it for a moment: they are not to hold the pipes of a process that we wait for.
    const quietly = [
      "sh",
      "-c",
      'exec "$@" >/run/browser.log 2>&1',
      "sh",
      "chromium-headless-shell",
    ] as const;
    const browser = office.program(office.client, ...quietly, ...QUIET, ...own, `https://${SITE}/`);
    const [, told = "", version] = await web.waitForLine(/^told (.*) over (.*)$/, { withinMs: 60_000 });
    expect(JSON.parse(told)).toEqual({ bytes: 2_000_000, heard: ["one", "one!", "one!!"], at: SITE });
    expect(version).toBe("2.0");
    // The server sees the gateway (PG-69).
    expect(web.stdout()).toContain("page over 2.0 from ::ffff:172.20.0.1");
    expect(web.stdout()).toContain("socket from ::ffff:172.20.0.1");
    await browser.stop();
    // It asks for HTTPS records, too (DN-35 row 6): they stay in the client.
    expect(names.world.asked().filter((question) => question.startsWith(SITE))).toEqual([]);
  });
});
