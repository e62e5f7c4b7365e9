/** The files of `postern service`, as the specification has them and as systemd understands them. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runService } from "../../../../src/program/service/index.ts";
import { SERVICE_ROLES, unitName, unitOf } from "../../../../src/program/service/units.ts";
import { createIo } from "../portal-peer.ts";

const COMMAND = ["/usr/bin/postern"];
const hasAnalyzer = spawnSync("systemd-analyze", ["--version"], { timeout: 60_000 }).status === 0;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "units-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The unit that PG-79 shows, and the switches that stand behind it. */
function specified(): readonly string[] {
  const text = readFileSync("docs/spec/programs.md", "utf8");
  const rule = text.slice(text.indexOf("PG-79. Gateway unit"), text.indexOf("PG-80."));
  const [, unit = "", more = ""] = rule.split("```");
  const switches = /each `=true`: (?<names>[^.]*)\./.exec(more)?.groups?.["names"] ?? "";
  return [...unit.trim().split("\n"), ...switches.split(", ").map((name) => `${name}=true`)];
}

const linesOf = (text: string): readonly string[] => text.split("\n").filter((line) => line !== "");

describe("units", () => {
  it("PG-79: the gateway's is the one of the specification", () => {
    expect([...linesOf(unitOf("gateway", { command: COMMAND }))].sort()).toEqual([...specified()].sort());
  });

  it("PG-79, PG-80: relay and portal have no capability and no device, nobody what kills us", () => {
    for (const role of SERVICE_ROLES) {
      const unit = unitOf(role, { command: COMMAND });
      const isTunnel = role === "client" || role === "gateway";
      expect(unit.includes("AmbientCapabilities=CAP_NET_ADMIN"), role).toBe(isTunnel);
      expect(unit.includes("DeviceAllow=/dev/net/tun rw"), role).toBe(isTunnel);
      expect(unit.includes("AF_NETLINK"), role).toBe(isTunnel);
      expect(linesOf(unit)).toContain(`CapabilityBoundingSet=${isTunnel ? "CAP_NET_ADMIN" : ""}`);
      expect(unit.includes("LoadCredential="), role).toBe(role !== "portal");
      expect(unit).not.toMatch(/MemoryDenyWriteExecute|ProcSubset/);
    }
    expect(unitOf("relay", { command: COMMAND })).toMatch(/TimeoutStopSec=30[\s\S]*LimitNOFILE=1048576/);
  });

  it("PG-78: what the runtime wants in its environment stands in each role's unit", () => {
    for (const role of SERVICE_ROLES) {
      const unit = linesOf(unitOf(role, { command: COMMAND, variables: ["DENO_NO_UPDATE_CHECK=1"] }));
      expect(unit.filter((line) => line.startsWith("Environment="))).toEqual([
        "Environment=DENO_NO_UPDATE_CHECK=1",
      ]);
    }
  });

  it("PG-79, DN-108: only the client's puts the host's DNS back, however it ended", () => {
    for (const role of SERVICE_ROLES) {
      const stops = linesOf(unitOf(role, { command: COMMAND })).filter((line) => line.startsWith("ExecStop"));
      const wanted = `ExecStopPost=+${COMMAND.join(" ")} client --revert-dns`;
      expect(stops).toEqual(role === "client" ? [wanted] : []);
    }
  });

  it("PG-79: a client that writes resolv.conf runs as root, may write /etc, and has one capability more", () => {
    const usual = linesOf(unitOf("client", { command: COMMAND }));
    const writing = linesOf(unitOf("client", { command: COMMAND, ownsResolvConf: true }));
    expect(writing.filter((line) => !usual.includes(line))).toEqual([
      "User=root",
      "Environment=POSTERN_DNS_CONTROL=etc-resolv-conf",
      "CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_OVERRIDE",
      "ReadWritePaths=/etc",
    ]);
    expect(usual.filter((line) => !writing.includes(line))).toEqual([
      ...["User=postern", "Group=postern"],
      ...["AmbientCapabilities=CAP_NET_ADMIN", "CapabilityBoundingSet=CAP_NET_ADMIN"],
    ]);
  });

  it("systemd.service(5): what systemd would take for its own is written twice, blanks are in quotes", () => {
    const unit = unitOf("portal", { command: ["/opt/my app/100%/node", "--", '/x/$"y"'] });
    expect(linesOf(unit)).toContain('ExecStart="/opt/my app/100%%/node" -- "/x/$$\\"y\\"" portal');
  });

  it.skipIf(!hasAnalyzer)(
    "PG-79: systemd finds nothing wrong, and little that is exposed",
    { timeout: 60_000 },
    () => {
      const units = SERVICE_ROLES.map((role) => ({ role, ownsResolvConf: false, exposure: 25 }));
      // Root, with a folder to write and a capability more.
      for (const { role, exposure, ...how } of [
        ...units,
        { role: "client" as const, ownsResolvConf: true, exposure: 32 },
      ]) {
        const path = join(folder, unitName(role));
        // The program has to be there for `verify`.
        writeFileSync(path, unitOf(role, { command: [process.execPath], ...how }));
        const verify = spawnSync("systemd-analyze", ["verify", "--man=no", path], {
          timeout: 60_000,
          encoding: "utf8",
        });
        expect(verify.stderr.split("\n").filter((line) => line.includes(unitName(role)))).toEqual([]);
        const security = spawnSync(
          "systemd-analyze",
          ["security", "--offline=true", `--threshold=${exposure}`, "--no-pager", path],
          { timeout: 60_000, encoding: "utf8" },
        );
        expect(security.status, security.stdout.split("\n").at(-2)).toBe(0);
      }
    },
  );
});

describe("postern service", () => {
  const run = (
    words: readonly string[],
    options: { dryRun?: boolean; root?: string; dnsControl?: "etc-resolv-conf" } = {},
  ) => {
    const io = createIo();
    const fixed = { dryRun: false, root: undefined, dnsControl: "auto", main: "/x/main.js" } as const;
    const status = runService({ words, ...fixed, ...options }, io);
    return { status, lines: io.lines };
  };

  it("PG-78: --dry-run says what install does, and does nothing", () => {
    const { status, lines } = run(["install", "client"], { dryRun: true });
    expect(status).toBe(0);
    expect(lines.filter((line) => !line.includes(".env"))).toEqual([
      "would write /etc/systemd/system/postern-client.service",
      "would write /etc/sysusers.d/postern.conf",
      "would write /etc/tmpfiles.d/postern.conf",
      "would write /etc/polkit-1/rules.d/50-postern.rules",
      "would run systemd-sysusers postern.conf",
      "would run systemd-tmpfiles --create postern.conf",
      "would run systemctl daemon-reload",
    ]);
    expect(run(["disable", "relay"], { dryRun: true }).lines).toEqual([
      "would run systemctl disable --now postern-relay.service",
    ]);
  });

  it.skipIf(process.geteuid?.() !== 0)(
    "PG-78: --root DIR: files for all to read, what an administrator wrote stays, no command is run",
    () => {
      expect(
        run(["install", "gateway"], { root: folder }).lines.some((line) => line.startsWith("running")),
      ).toBe(false);
      const unit = join(folder, "etc/systemd/system/postern-gateway.service");
      expect(readFileSync(unit, "utf8")).toContain("Description=Postern gateway");
      expect(statSync(unit).mode & 0o777).toBe(0o644);
      expect(readdirSync(join(folder, "etc")).sort()).toEqual([
        "postern",
        "systemd",
        "sysusers.d",
        "tmpfiles.d",
      ]);
      const environment = join(folder, "etc/postern/gateway.env");
      expect(readFileSync(environment, "utf8")).toContain("#POSTERN_API_URL=");
      writeFileSync(environment, "POSTERN_API_URL=wss://mine.example\n");
      run(["install", "gateway"], { root: folder });
      expect(readFileSync(environment, "utf8")).toBe("POSTERN_API_URL=wss://mine.example\n");
    },
  );

  it("PG-78: print needs nothing; what is no action or service is exit 2", () => {
    expect(run(["print", "portal"]).lines.join("\n")).toContain("[Install]");
    for (const words of [
      ["start", "client"],
      ["print", "wg"],
    ]) {
      expect(() => run(words)).toThrow(expect.objectContaining({ code: "usage" }));
    }
  });
});
