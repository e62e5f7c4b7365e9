/** wg-quick's file format, WG-63 (WG §12 item 10). */
import { describe, expect, it } from "vitest";
import { formatIp, formatPrefix, formatSocketAddress } from "../../../src/base/index.ts";
import { locateConfig, parseWgConfig, type WgConfig } from "../../../src/wg/config-file.ts";
import { parseEndpoint } from "../../../src/wg/endpoint.ts";

const KEY = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const PEER = "ISmLAY48Nm/pSgeJXptJKJKlu6VmuKAX1R+9BwoDUTw=";
const OTHER = "qOO0nQrzq94u5hb26D/gCY9fXXo3lUHGZlsKyc0+yw0=";

function parse(...lines: readonly string[]): WgConfig {
  const result = parseWgConfig(lines.join("\n"));
  if (!result.ok) throw new Error(`${result.line}: ${result.message}`);
  return result.value;
}

function mistakeOf(...lines: readonly string[]): string {
  const result = parseWgConfig(lines.join("\n"));
  return result.ok ? "none" : `${result.line}: ${result.message}`;
}

describe("WG-63: a whole file", () => {
  const config = parse(
    "# office",
    "[Interface]",
    `PrivateKey = ${KEY} # ours`,
    "listenport = 51820",
    "FwMark = 0xca6c",
    "Address = 10.0.0.1/24, fd00::1/64",
    "Address = 10.1.0.1",
    "MTU=1380",
    "Table = 200",
    "DNS = 10.0.0.53, fd00::53, corp.example",
    "PostUp = echo %i; echo = done",
    "SaveConfig = false",
    "",
    "[Peer]",
    `PUBLICKEY = ${PEER}`,
    `PresharedKey = ${KEY}`,
    "AllowedIPs = 10.0.0.2/32, 10.2.3.4/16",
    "AllowedIPs = ::/0",
    "Endpoint = 192.0.2.7:51821",
    "PersistentKeepalive = 25",
    "[Peer]",
    `PublicKey = ${OTHER}`,
    "Endpoint = gw.example.com:443",
    "PersistentKeepalive = off",
  );

  it("reads the interface", () => {
    expect(config.privateKey).toHaveLength(32);
    expect(config.listenPort).toBe(51820);
    expect(config.fwMark).toBe(0xca6c);
    expect(config.mtu).toBe(1380);
    expect(config.table).toBe(200);
    expect(config.addresses.map(({ address, bits }) => `${formatIp(address)}/${bits}`)).toEqual([
      "10.0.0.1/24",
      "fd00::1/64",
      "10.1.0.1/32",
    ]);
    expect(config.dns).toEqual(["10.0.0.53", "fd00::53", "corp.example"]);
    expect(config.hooks).toEqual([{ kind: "PostUp", command: "echo %i; echo = done", line: 11 }]);
  });

  it("reads the peers, and cuts host bits off allowed networks only (WG-58)", () => {
    const [first, second] = config.peers;
    expect(first?.allowedIps.map(formatPrefix)).toEqual(["10.0.0.2/32", "10.2.0.0/16", "::/0"]);
    expect(first?.endpoint?.kind === "address" && formatSocketAddress(first.endpoint.address)).toBe(
      "192.0.2.7:51821",
    );
    expect(first?.keepaliveSeconds).toBe(25);
    expect(first?.presharedKey).toHaveLength(32);
    expect(second?.allowedIps).toEqual([]);
    expect(second?.endpoint).toEqual({ kind: "name", host: "gw.example.com", port: 443 });
    expect(second?.keepaliveSeconds).toBe(0);
    expect(second?.presharedKey).toBeUndefined();
  });

  it("has wg's defaults for an empty file", () => {
    expect(parse("")).toMatchObject({ listenPort: 0, fwMark: 0, table: "auto", peers: [], mtu: undefined });
  });

  it.each([
    ["auto", "auto"],
    ["off", "off"],
    ["0", 254],
    ["0x4d2", 1234],
    ["51820", 51820],
    ["vpn", { name: "vpn", line: 2 }],
  ] as const)("takes Table = %s", (text, table) => {
    expect(parse("[Interface]", `Table = ${text}`).table).toEqual(table);
  });

  it("reads Windows line ends", () => {
    expect(parse("[Interface]\r", "ListenPort = 7\r").listenPort).toBe(7);
  });
});

/** One faulty line per key, in the section where the key stands. */
const BAD_INTERFACE = {
  PrivateKey: "abc=",
  ListenPort: "off",
  FwMark: "0x123456789",
  Address: "10.0.0.1/33",
  MTU: "67",
  Table: "-1",
  SaveConfig: "yes",
};

const BAD_PEER = {
  PublicKey: `${KEY}A`,
  PresharedKey: "!",
  AllowedIPs: "10.0.0.0/8, nothing",
  Endpoint: "192.0.2.1",
  PersistentKeepalive: "65536",
};

describe("WG-63: mistakes have their line", () => {
  it.each(Object.entries(BAD_INTERFACE))("%s = %s", (key, value) => {
    expect(mistakeOf("[Interface]", "", `${key} = ${value}`)).toMatch(new RegExp(`^3: ${key} .`));
  });

  it.each(Object.entries(BAD_PEER))("%s = %s", (key, value) => {
    expect(mistakeOf("[Peer]", `${key} = ${value}`)).toMatch(new RegExp(`^2: ${key} .`));
  });

  it("knows the keys of the specification and no others", () => {
    expect(mistakeOf("[Interface]", "PublicKey = x")).toBe("2: unknown key 'PublicKey' in [Interface]");
    expect(mistakeOf("[Peer]", "Address = 10.0.0.1")).toBe("2: unknown key 'Address' in [Peer]");
    expect(mistakeOf("[Interface]", "constructor = 1")).toBe("2: unknown key 'constructor' in [Interface]");
  });

  it.each([
    [["ListenPort = 1"], "1: 'ListenPort' stands before the first section"],
    [["[Server]"], "1: unknown section '[Server]'"],
    [["[Interface]", "ListenPort"], "2: 'ListenPort' is not of the form 'key = value'"],
    [["[Interface]", "= 5"], "2: '= 5' is not of the form 'key = value'"],
    [["[Interface]", "ListenPort ="], "2: ListenPort has no value"],
    [["[Interface]", "Address = 10.0.0.1/8, 10.0.0.1/8"], "2: Address '10.0.0.1/8' is given twice"],
    [["[Interface]", "", "[Peer]", "AllowedIPs = 10.0.0.0/8"], "3: this [Peer] has no PublicKey"],
  ])("%j", (lines, message) => {
    expect(mistakeOf(...lines)).toBe(message);
  });

  it("a key may appear in each [Peer] once", () => {
    const twice = ["PersistentKeepalive = 5", "[Peer]", `PublicKey = ${OTHER}`, "PersistentKeepalive = 6"];
    expect(
      parse("[Peer]", `PublicKey = ${PEER}`, ...twice).peers.map((peer) => peer.keepaliveSeconds),
    ).toEqual([5, 6]);
  });
});

describe("WG-73: what may not mean what its writer thinks has a warning with its line", () => {
  it.each([
    [
      ["[Interface]", "ListenPort = 1", "listenport = 2"],
      "3: 'listenport' is given twice: the last one counts",
    ],
    [["[Interface]", "ListenPort = 65537"], "2: 65537 is no port and counts as 1"],
    [["[Interface]", "MTU = 02700"], "2: '02700' is octal and means 1472"],
    [["[Interface]", "Address = 10.8/16"], "2: '10.8/16' means 10.8.0.0/16"],
    [["[Interface]", "Address = 10.8.0.1/255.255.0.0"], "2: '10.8.0.1/255.255.0.0' means 10.8.0.1/16"],
    [["[Interface]", "SaveConfig = True"], "2: SaveConfig has no effect: the file stays as it is"],
    [["[Peer]", `PublicKey = ${PEER}`, "Endpoint = 127.1:5"], "3: '127.1' means 127.0.0.1"],
    [
      ["[Peer]", `PublicKey = ${PEER}`, "[Peer]", `PublicKey = ${PEER}`],
      "3: a [Peer] with this PublicKey stands above: these AllowedIPs replace its own",
    ],
  ])("%j", (lines, warning) => {
    expect(parse(...lines).warnings.map(({ line, message }) => `${line}: ${message}`)).toEqual([warning]);
  });

  it("nothing usual has one", () => {
    const lines = [
      "[Interface]",
      `PrivateKey = ${KEY}`,
      "Address = 10.0.0.1/8, fd00::1",
      "PostUp =",
      "MTU = 1420",
    ];
    expect(parse(...lines, "[Peer]", `PublicKey = ${PEER}`, "Endpoint = h:1").warnings).toEqual([]);
  });
});

it("WG-73: a later [Peer] of the same key changes the earlier one, and takes prefixes over", () => {
  const { peers } = parse(
    ...[
      "[Peer]",
      `PublicKey = ${PEER}`,
      `PresharedKey = ${KEY}`,
      "AllowedIPs = 10.0.0.0/8",
      "Endpoint = h:1",
    ],
    ...["[Peer]", `PublicKey = ${OTHER}`, "AllowedIPs = 10.0.0.0/8"],
    ...["[Peer]", `PublicKey = ${PEER}`, "AllowedIPs = 10.0.0.0/8", "PersistentKeepalive = 5"],
  );
  expect(peers.map((peer) => peer.keepaliveSeconds)).toEqual([0, 5]);
  expect(peers[1]?.presharedKey).toHaveLength(32);
  expect(peers[1]?.endpoint).toEqual({ kind: "name", host: "h", port: 1 });
});

describe("WG-63: boundaries", () => {
  it.each([
    // Of 44 characters, but 33 and 31 bytes.
    ["PrivateKey", [KEY], [`${KEY.slice(0, 43)}9`, `${KEY.slice(0, 42)}==`]],
    ["ListenPort", ["0", "65535", "2147483647"], ["2147483648", "-1", "1.5", "0x10"]],
    ["MTU", ["68", "65535"], ["67", "65536"]],
    ["FwMark", ["off", "0", "4294967295", "0xffffffff"], ["4294967296", "0x", "on"]],
  ] as const)("%s", (key, good, bad) => {
    for (const value of good) expect(mistakeOf("[Interface]", `${key} = ${value}`), value).toBe("none");
    for (const value of bad) expect(mistakeOf("[Interface]", `${key} = ${value}`), value).not.toBe("none");
  });

  it.each([
    ["192.0.2.1:1", true],
    ["192.0.2.1:65535", true],
    ["[2001:db8::1]:51820", true],
    ["host:51820", true],
    ["a-b.example.:1", true],
    ["192.0.2.1:65536", true],
    ["2001:db8::1:51820", true],
    ["[192.0.2.1]:1", true],
    ["192.0.2.1:-1", false],
    ["192.0.2.256:1", false],
    ["2001:db8::1", false],
    ["[2001:db8::1", false],
    ["host", false],
    [":1", false],
    ["-host:1", false],
  ] as const)("Endpoint %s", (text, isGood) => {
    expect(parseEndpoint(text) !== undefined).toBe(isGood);
  });
});

describe("WG-63: names of files and interfaces", () => {
  it.each([
    ["wg0", "wg0", "/etc/wireguard/wg0.conf"],
    ["./wg0.conf", "wg0", "./wg0.conf"],
    ["/tmp/a=b_c+d.e-f.conf", "a=b_c+d.e-f", "/tmp/a=b_c+d.e-f.conf"],
    ["office.conf", "office", "office.conf"],
  ])("%s is %s", (argument, name, path) => {
    expect(locateConfig(argument)).toEqual({ ok: true, value: { name, path } });
  });

  it.each(["sixteen-letters-", "/tmp/sixteen-letters-.conf", "a b", "/tmp/wg0", ".conf", "wg0/"])(
    "not %s",
    (argument) => {
      expect(locateConfig(argument).ok).toBe(false);
    },
  );
});
