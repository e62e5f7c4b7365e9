/** The status protocol, WG-66 and WG-67. */
import { describe, expect, it } from "vitest";
import { formatPrefix, formatSocketAddress, fromHex, ip, prefix } from "../../../src/base/index.ts";
import {
  createUapiReader,
  formatErrno,
  formatStatus,
  parseSet,
  UAPI_LINE_BYTES_MAX,
  UAPI_REQUEST_BYTES_MAX,
  type WgSet,
} from "../../../src/wg/uapi.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);
const ZERO = "0".repeat(64);

function key(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}

function set(...lines: readonly string[]): WgSet {
  const result = parseSet(lines);
  if (!result.ok) throw new Error(result.reason);
  return result.value;
}

describe("WG-66: set", () => {
  it("reads device and peers", () => {
    const change = set(
      `private_key=${A}`,
      "listen_port=51820",
      "fwmark=51820",
      "replace_peers=true",
      `public_key=${A}`,
      `preshared_key=${B}`,
      "endpoint=[fd00::1]:7",
      "persistent_keepalive_interval=25",
      "replace_allowed_ips=true",
      "allowed_ip=10.0.0.7/24",
      "allowed_ip=-fd00::/64",
      "protocol_version=1",
      `public_key=${B}`,
      "update_only=true",
      "remove=true",
    );
    expect(change).toMatchObject({
      privateKey: { key: key(A) },
      listenPort: 51820,
      fwMark: 51820,
      replacePeers: true,
    });
    const [first, second] = change.peers;
    expect(first?.endpoint && formatSocketAddress(first.endpoint)).toBe("[fd00::1]:7");
    expect(
      first?.allowedIps.map(({ prefix: one, remove }) => `${remove ? "-" : ""}${formatPrefix(one)}`),
    ).toEqual(["10.0.0.0/24", "-fd00::/64"]);
    expect(first).toMatchObject({ keepaliveSeconds: 25, replaceAllowedIps: true, remove: false });
    expect(second).toMatchObject({ publicKey: key(B), updateOnly: true, remove: true });
  });

  it("zeros remove a key", () => {
    expect(set(`private_key=${ZERO}`).privateKey).toEqual({ key: undefined });
    expect(set(`public_key=${A}`, `preshared_key=${ZERO}`).peers[0]?.presharedKey).toEqual({
      key: undefined,
    });
  });

  it.each([
    ["unknown=1", "invalid"],
    ["private_key=12", "invalid"],
    [`private_key=${"g".repeat(64)}`, "invalid"],
    ["listen_port=65536", "invalid"],
    ["listen_port=", "invalid"],
    ["fwmark=4294967296", "invalid"],
    ["replace_peers=false", "invalid"],
    ["allowed_ip=10.0.0.0/8", "invalid"],
    ["public_key=", "invalid"],
    ["nothing", "protocol"],
  ] as const)("%s is %s", (line, reason) => {
    expect(parseSet([line])).toEqual({ ok: false, reason });
  });

  it.each([
    "remove=false",
    "update_only=1",
    "preshared_key=1",
    "endpoint=host:1",
    "endpoint=192.0.2.1",
    "persistent_keepalive_interval=65536",
    "allowed_ip=10.0.0.0/33",
    "allowed_ip=--10.0.0.0/8",
    "protocol_version=2",
    "listen_port=1",
  ])("%s is no line of a peer", (line) => {
    expect(parseSet([`public_key=${A}`, line])).toEqual({ ok: false, reason: "invalid" });
  });

  it("WG-76: an endpoint may have a scope, by the name or the number of an interface", () => {
    const host = { indexOf: (device: string) => (device === "eth1" ? 7 : undefined) };
    const endpointOf = (text: string) => {
      const result = parseSet([`public_key=${A}`, `endpoint=${text}`], host);
      const endpoint = result.ok ? result.value.peers[0]?.endpoint : undefined;
      return endpoint && formatSocketAddress(endpoint);
    };
    expect(endpointOf("[fe80::1%eth1]:9")).toBe("[fe80::1%7]:9");
    expect(endpointOf("[fe80::1%3]:9")).toBe("[fe80::1%3]:9");
    expect(endpointOf("[fe80::1]:9")).toBe("[fe80::1]:9");
    expect(endpointOf("[2001:db8::1%3]:9")).toBe("[2001:db8::1]:9");
    for (const bad of [
      "[fe80::1%eth2]:9",
      "[fe80::1%]:9",
      "[fe80::1%3]:65536",
      "[fe80::1%3%4]:9",
      "[2001:db8::1%eth1]:9",
    ]) {
      expect(endpointOf(bad), bad).toBeUndefined();
    }
  });

  it("WG-67: one bad line spoils all", () => {
    expect(parseSet([`private_key=${A}`, "listen_port=1", "bad=1"]).ok).toBe(false);
  });
});

describe("WG-66: get", () => {
  const peer = {
    publicKey: key(A),
    presharedKey: undefined,
    endpoint: { address: ip("2001:db8::1"), port: 9 },
    lastHandshakeUnixMs: 1_700_000_000_123,
    txBytes: 5,
    rxBytes: 6,
    keepaliveSeconds: 25,
    allowedIps: [prefix("10.0.0.0/8"), prefix("::/0")],
  };

  it("has the order of wireguard-go", () => {
    const text = formatStatus({ privateKey: key(B), listenPort: 1, fwMark: 2, peers: [peer] });
    expect(text).toBe(
      [
        `private_key=${B}`,
        "listen_port=1",
        "fwmark=2",
        `public_key=${A}`,
        `preshared_key=${ZERO}`,
        "protocol_version=1",
        "endpoint=[2001:db8::1]:9",
        "last_handshake_time_sec=1700000000",
        "last_handshake_time_nsec=123000000",
        "tx_bytes=5",
        "rx_bytes=6",
        "persistent_keepalive_interval=25",
        "allowed_ip=10.0.0.0/8",
        "allowed_ip=::/0",
        "errno=0",
        "",
        "",
      ].join("\n"),
    );
  });

  it("leaves out what there is not", () => {
    const bare = {
      ...peer,
      endpoint: undefined,
      lastHandshakeUnixMs: 0,
      allowedIps: [],
      presharedKey: key(B),
    };
    const text = formatStatus({ privateKey: undefined, listenPort: 0, fwMark: 0, peers: [bare] });
    expect(text).not.toMatch(/private_key|fwmark|endpoint|allowed_ip/);
    expect(text).toContain(`preshared_key=${B}`);
    expect(text).toContain("last_handshake_time_sec=0\nlast_handshake_time_nsec=0\n");
  });
});

describe("WG-66, WG-67: requests on a stream", () => {
  it("cuts them at the empty line, wherever the stream was cut", () => {
    const text = `get=1\n\nset=1\nlisten_port=5\npublic_key=${A}\n\nget=1\n\n`;
    for (const size of [1, 3, 7, text.length]) {
      const reader = createUapiReader();
      const requests = [];
      for (let at = 0; at < text.length; at += size) requests.push(...reader.push(text.slice(at, at + size)));
      expect(requests).toEqual([
        { kind: "get" },
        { kind: "set", lines: ["listen_port=5", `public_key=${A}`] },
        { kind: "get" },
      ]);
    }
  });

  it.each(["get=2\n", "\n", "GET / HTTP/1.1\r\n", "get=1\nx=1\n\n", "set\n"])("refuses %j", (text) => {
    expect(createUapiReader().push(text)).toEqual([{ kind: "refused" }]);
  });

  it("refuses lines above 4096 bytes, finished or not", () => {
    const fits = `set=1\n${"x".repeat(UAPI_LINE_BYTES_MAX)}\n\n`;
    expect(createUapiReader().push(fits)).toMatchObject([{ kind: "set" }]);
    const long = `set=1\n${"x".repeat(UAPI_LINE_BYTES_MAX + 1)}`;
    expect(createUapiReader().push(long)).toEqual([{ kind: "refused" }]);
    expect(createUapiReader().push(`${long}\n`)).toEqual([{ kind: "refused" }]);
  });

  it("refuses requests above 16 MiB, and says nothing afterwards", () => {
    const reader = createUapiReader();
    reader.push("set=1\n");
    const line = `${"x".repeat(UAPI_LINE_BYTES_MAX - 1)}\n`;
    const requests = [];
    for (let bytes = 0; bytes <= UAPI_REQUEST_BYTES_MAX; bytes += line.length)
      requests.push(...reader.push(line));
    expect(requests).toEqual([{ kind: "refused" }]);
    expect(reader.push("\nget=1\n\n")).toEqual([]);
  });

  it("answers end with errno and an empty line", () => {
    expect(formatErrno(-98)).toBe("errno=-98\n\n");
  });
});
