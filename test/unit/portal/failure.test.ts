import { describe, expect, it } from "vitest";
import { PosternError } from "../../../src/base/index.ts";
import {
  type ConnectFailure,
  codeOf,
  describeFatal,
  describeTransient,
  type FatalError,
} from "../../../src/portal/protocol/index.ts";
import { exitCodeOf } from "../../../src/program/exit.ts";
import { createDriver, LOGIN } from "./connection-driver.ts";

/** Certificate codes of PT-29; two of the family `CERT_*`. */
const CERTIFICATE_CODES = [
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_CRL",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "HOSTNAME_MISMATCH",
  "INVALID_CA",
  "PATH_LENGTH_EXCEEDED",
];

function outcome(failure: ConnectFailure) {
  const driver = createDriver();
  driver.run((now) => driver.machine.connect(now, LOGIN));
  driver.fail(failure);
  return driver.events.at(-1);
}

function problem(
  code: string,
): Pick<Extract<ConnectFailure, { kind: "refused-upgrade" }>, "contentType" | "body"> {
  return { contentType: "application/problem+json", body: JSON.stringify({ code, detail: `about ${code}` }) };
}

describe("what ends the connection for good", () => {
  it.each(CERTIFICATE_CODES)("PT-29: the certificate code %s is fatal, without another try", (code) => {
    expect(outcome({ kind: "tls", code })).toEqual({ kind: "fatal", error: { kind: "certificate", code } });
  });

  it.each(["ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR", "EPROTO", "ECONNRESET"])(
    "PT-29: TLS code %s is transient",
    (code) => {
      expect(outcome({ kind: "tls", code })).toMatchObject({ kind: "hiccup", error: { kind: "tls", code } });
    },
  );

  it.each([
    ["invalid_token", problem("invalid_token"), "invalid-token"],
    ["missing_token", problem("missing_token"), "invalid-token"],
    ["no body", { body: "" }, "invalid-token"],
    ["a body that is no JSON", { contentType: "application/problem+json", body: "<html>" }, "invalid-token"],
    [
      "a code of another media type",
      { ...problem("account_disabled"), contentType: "application/json" },
      "invalid-token",
    ],
    ["account_disabled", problem("account_disabled"), "authentication-failed"],
    [
      "a media type in capitals with parameters",
      { ...problem("account_disabled"), contentType: "Application/Problem+JSON; charset=utf-8" },
      "authentication-failed",
    ],
  ])("PT-29, PT-31: 401 with %s", (_, answer, kind) => {
    expect(outcome({ kind: "refused-upgrade", status: 401, ...answer })).toMatchObject({
      kind: "fatal",
      error: { kind },
    });
  });

  it.each([400, 403, 404, 408, 409, 422, 429, 500, 503, 302, 200])(
    "PT-29: HTTP %i is transient",
    (status) => {
      expect(outcome({ kind: "refused-upgrade", status, ...problem("invalid_token") })).toMatchObject({
        kind: "hiccup",
        error: { kind: "http", status, detail: "about invalid_token" },
      });
    },
  );

  it("PT-31: cuts other bodies to 200 characters", () => {
    const event = outcome({ kind: "refused-upgrade", status: 502, body: "x".repeat(201) });
    expect(event).toMatchObject({ error: { detail: "x".repeat(200) } });
  });

  it.each<[FatalError, number]>([
    [{ kind: "invalid-token", detail: "" }, 4],
    [{ kind: "authentication-failed", detail: "account_disabled" }, 4],
    [{ kind: "login-failed", reason: "disabled" }, 4],
    [{ kind: "max-retries", lastError: { kind: "unreachable", code: "ECONNREFUSED" } }, 6],
    [{ kind: "certificate", code: "CERT_HAS_EXPIRED" }, 7],
  ])("PT-33: %j exits with %i and says why in one line", (error, code) => {
    expect(exitCodeOf(new PosternError(codeOf(error), "x"))).toBe(code);
    expect(describeFatal(error)).toMatch(/^the portal.*\S$/);
  });

  it.each([
    ["SELF_SIGNED_CERT_IN_CHAIN", /--ca-file/],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", /--ca-file/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", /--api-url/],
    ["CERT_HAS_EXPIRED", /renew it/],
  ])("PT-33: a certificate refused for %s comes with its remedy", (code, remedy) => {
    expect(describeFatal({ kind: "certificate", code })).toMatch(remedy);
  });

  it("PT-33: says so where the portal's port does not speak TLS", () => {
    expect(describeTransient({ kind: "tls", code: "EPROTO" })).toMatch(/EPROTO; .*may not speak TLS/);
    expect(describeTransient({ kind: "tls", code: "ECONNRESET" })).toBe("TLS failed: ECONNRESET");
  });
});
