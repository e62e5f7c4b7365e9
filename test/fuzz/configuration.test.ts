/**
 * What people and other programs write for us to read (targets `wg-conf`, `control-socket` and
 * `candidate-sdp` of TS-42): every text is read, or refused with its place; nothing throws, and reading is
 * never slow.
 */

import { describe, expect, it } from "vitest";
import { parseCandidate } from "../../src/ice/candidate-text.ts";
import { parsePortalFile } from "../../src/portal/config/index.ts";
import { patient } from "../../src/program/lab/index.ts";
import { parseWgConfig } from "../../src/wg/config-file.ts";
import { createUapiReader, parseSet, UAPI_LINE_BYTES_MAX } from "../../src/wg/uapi.ts";
import { fuzz, fuzzOptions } from "./chance.ts";
import { mutateText } from "./mutation.ts";

const KEY = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const HEX = "7c6cb250fab2df82fe56f459cb20c9a13af44ff6cbf4550267663a9d42ea4553";
const OTHER_HEX = HEX.replace("7c", "8c");
/** No single reading takes longer, whatever it reads; generous, for a busy machine. */
const SLOWEST_MS = 1000;

const WG_FILE = `# office
[Interface]
PrivateKey = ${KEY}
ListenPort = 51820
FwMark = 0xca6c
Address = 10.0.0.1/24, fd00::1/64
MTU = 1380
Table = auto
DNS = 10.0.0.53, corp.example
[Peer]
PublicKey = ${KEY.replace("fG", "gG")}
PresharedKey = ${KEY}
AllowedIPs = 10.0.0.2/32, ::/0
Endpoint = [2001:db8::7]:51821
PersistentKeepalive = 25
`;

const PORTAL_FILE = `version: 1
account: { slug: lab }
sites:
  - name: Berlin
    gateway_tokens: [{ name: gw, hash: "sha256:${HEX}" }]
actors:
  - { name: ci, type: service_account, tokens: [{ name: ci, hash: "sha256:${OTHER_HEX}" }] }
groups: [{ name: Ops, members: [ci] }]
resources:
  - { name: Office, type: cidr, address: 172.20.0.0/16, site: Berlin }
policies:
  - group: Ops
    resource: Office
    conditions:
      - property: current_utc_datetime
        operator: is_in_day_of_week_time_ranges
        values: [M/9:00-17:00/UTC]
`;

const SET = `private_key=${HEX}
listen_port=51820
fwmark=0
replace_peers=true
public_key=${HEX}
preshared_key=${HEX}
endpoint=[2001:db8::7]:51820
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.0.0.0/24
allowed_ip=::/0
`;

const WG_WORDS = [
  "off",
  "auto",
  "0",
  "-1",
  "65536",
  "99999999999",
  "10.0.0.1/33",
  "::/129",
  "[",
  "=",
  "[Peer]",
  KEY,
];
const YAML_WORDS = [
  "&a",
  "*a",
  "<<: *a",
  "!!js",
  "- ",
  "? ",
  ": ",
  "|",
  ">",
  "null",
  "~",
  "[[[[",
  "{{",
  '"',
  "%YAML",
];

function timed<T>(read: () => T): T {
  const started = performance.now();
  const result = read();
  expect(performance.now() - started).toBeLessThan(patient(SLOWEST_MS));
  return result;
}

describe("configuration", () => {
  it("WG-63: wg-quick's file is read, or refused with a line of it", () => {
    const outcomes = { ok: 0, refused: 0 };
    fuzz(fuzzOptions({ seed: 1, rounds: 3000 }), (chance) => {
      const text = mutateText(chance, WG_FILE, WG_WORDS);
      const result = timed(() => parseWgConfig(text));
      outcomes[result.ok ? "ok" : "refused"]++;
      if (result.ok) {
        expect(result.value.privateKey?.length ?? 32).toBe(32);
        return;
      }
      expect(result.message).not.toBe("");
      expect(result.line).toBeGreaterThanOrEqual(0);
      expect(result.line).toBeLessThanOrEqual(text.split("\n").length);
    });
    expect(Math.min(outcomes.ok, outcomes.refused)).toBeGreaterThan(100);
  });

  it("PT-112: the portal's file is read, or refused with positions in it", () => {
    const outcomes = { ok: 0, refused: 0 };
    const options = { readEnv: () => undefined, readFile: () => undefined };
    fuzz(fuzzOptions({ seed: 1, rounds: 600 }), (chance) => {
      const text = mutateText(chance, PORTAL_FILE, YAML_WORDS);
      const result = timed(() => parsePortalFile(text, options));
      outcomes[result.ok ? "ok" : "refused"]++;
      if (result.ok) return;
      expect(result.issues.length).toBeGreaterThan(0);
      for (const { line, column, message } of result.issues) {
        expect(line).toBeGreaterThanOrEqual(1);
        expect(line).toBeLessThanOrEqual(text.split("\n").length + 1);
        expect(column).toBeGreaterThanOrEqual(1);
        expect(message).not.toBe("");
      }
    });
    expect(Math.min(outcomes.ok, outcomes.refused)).toBeGreaterThan(5);
  });

  it.each(["[a, b]", "{ a: 1 }", "&x [a]"])("PT-112: the key %s is refused with its place", (key) => {
    const text = `version: 1\naccount:\n  ? ${key}\n  : 1\n`;
    const result = parsePortalFile(text, { readEnv: () => undefined, readFile: () => undefined });
    expect(result).toMatchObject({ ok: false, issues: [{ line: 3, message: "a key is plain text" }] });
  });

  it("WG-66, WG-67: requests of the status socket are cut, read or refused, in any pieces", () => {
    const kinds = new Set<string>();
    fuzz(fuzzOptions({ seed: 1, rounds: 3000 }), (chance) => {
      const whole = `${chance.pick(["", "get=1\n\n"])}set=1\n${mutateText(chance, SET, ["remove=true", "update_only=true", "=", "\n\n", "get=1\n"])}\n`;
      const text = chance.isOneIn(20) ? whole + "x".repeat(UAPI_LINE_BYTES_MAX + 1) : whole;
      const reader = createUapiReader();
      for (let at = 0; at < text.length; ) {
        const length = 1 + chance.below(200);
        for (const request of reader.push(text.slice(at, at + length))) {
          kinds.add(request.kind);
          if (request.kind === "set") kinds.add(parseSet(request.lines).ok ? "set ok" : "set refused");
        }
        at += length;
      }
    });
    expect([...kinds].sort()).toEqual(["get", "refused", "set", "set ok", "set refused"]);
  });

  it("SN-28: candidates of the other side are read or refused, whatever they are", () => {
    const outcomes = { ok: 0, refused: 0 };
    const text =
      "candidate:ea43eb1e 1 udp 2130706431 fd30::2 52625 typ srflx raddr ::1 rport 9 ufrag cwawqrwc";
    const words = [
      "udp",
      "tcp",
      "host",
      "relay",
      "raddr",
      "0",
      "-1",
      "65536",
      "1e9",
      "256.0.0.1",
      "::",
      "a".repeat(300),
    ];
    fuzz(fuzzOptions({ seed: 1, rounds: 3000 }), (chance) => {
      const changed = chance.isOneIn(50)
        ? chance.pick([undefined, null, 7, {}, []])
        : mutateText(chance, text, words);
      const result = timed(() => parseCandidate(changed));
      outcomes[result.ok ? "ok" : "refused"]++;
      if (result.ok) expect(result.value.address.port).toBeLessThanOrEqual(65_535);
    });
    expect(Math.min(outcomes.ok, outcomes.refused)).toBeGreaterThan(100);
  });
});
