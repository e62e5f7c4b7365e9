import { describe, expect, it } from "vitest";
import { PosternError } from "../../../../src/base/index.ts";
import { type Environment, proxyFor } from "../../../../src/program/proxy/index.ts";

const PORTAL = { host: "portal.example.com", port: 443 };
const proxy = (env: Environment, target = PORTAL) => {
  const found = proxyFor(target, env);
  return found && { ...found, credentials: found.credentials?.reveal() };
};
const refusal = (value: string): unknown => {
  try {
    return proxyFor(PORTAL, { HTTPS_PROXY: value });
  } catch (error) {
    return error instanceof PosternError ? `${error.code}: ${error.message}` : error;
  }
};

describe("RL-211: the proxy that the environment names", () => {
  it("is none without a variable, or with an empty one", () => {
    expect(proxy({})).toBeUndefined();
    expect(proxy({ HTTPS_PROXY: "", all_proxy: "" })).toBeUndefined();
  });

  it("is HTTPS_PROXY, else ALL_PROXY; lowercase forms win", () => {
    expect(proxy({ ALL_PROXY: "http://all:1" })).toMatchObject({ host: "all", port: 1 });
    expect(proxy({ ALL_PROXY: "http://all:1", HTTPS_PROXY: "http://https:2" })).toMatchObject({
      host: "https",
    });
    expect(proxy({ HTTPS_PROXY: "http://upper:2", https_proxy: "http://lower:3" })).toMatchObject({
      host: "lower",
    });
  });

  it.each([
    ["proxy", { scheme: "http", host: "proxy", port: 80 }],
    ["proxy:3128", { scheme: "http", host: "proxy", port: 3128 }],
    ["http://192.0.2.1:3128/", { scheme: "http", host: "192.0.2.1", port: 3128 }],
    ["http://[2001:db8::1]:3128", { scheme: "http", host: "2001:db8::1", port: 3128 }],
    ["https://proxy", { scheme: "https", host: "proxy", port: 443 }],
    ["http://anna:p%40ss@proxy", { host: "proxy", credentials: "anna:p@ss" }],
    ["http://anna@proxy", { host: "proxy", credentials: "anna:" }],
  ])("%s is understood", (value, expected) => {
    expect(proxy({ HTTPS_PROXY: value })).toMatchObject(expected);
  });

  it("is refused with what to do, and without showing the password", () => {
    expect(refusal("socks5://proxy:1080")).toBe("usage: HTTPS_PROXY names a proxy by socks5://");
    expect(refusal("http://")).toBe("usage: HTTPS_PROXY is not an address");
    expect(refusal("http://anna:%zz@proxy")).toBe(
      "usage: HTTPS_PROXY has credentials with a broken percent sign",
    );
  });

  it.each([
    ["*", PORTAL.host, true],
    ["example.com", PORTAL.host, true],
    [".example.com", PORTAL.host, true],
    ["*.example.com", PORTAL.host, true],
    ["PORTAL.EXAMPLE.COM", PORTAL.host, true],
    ["localhost, .corp portal.example.com", PORTAL.host, true],
    ["example.com:443", PORTAL.host, true],
    ["example.com:8443", PORTAL.host, false],
    ["ample.com", PORTAL.host, false],
    ["portal.example.com.evil.com", PORTAL.host, false],
    ["", PORTAL.host, false],
    ["192.0.2.0/24", "192.0.2.7", true],
    ["192.0.2.7", "192.0.2.7", true],
    ["192.0.2.7:443", "192.0.2.7", true],
    ["192.0.2.0/24", "192.0.3.7", false],
    ["2001:db8::/32", "2001:db8::7", true],
    ["2001:db8::7", "2001:db8::7", true],
    ["[2001:db8::7]:443", "2001:db8::7", true],
    ["0.0.0.0/0", "2001:db8::7", false],
    ["192.0.2.7", PORTAL.host, false],
  ])("NO_PROXY=%s: %s passes it by: %s", (exceptions, host, isExcepted) => {
    const found = proxy({ HTTPS_PROXY: "http://proxy", NO_PROXY: exceptions }, { host, port: 443 });
    expect(found === undefined).toBe(isExcepted);
  });

  it("no_proxy wins over NO_PROXY, even when it is empty", () => {
    expect(proxy({ HTTPS_PROXY: "http://proxy", NO_PROXY: "*", no_proxy: "" })).toBeDefined();
  });
});
