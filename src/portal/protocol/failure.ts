/**
 * Why a connection to the portal ended, and which of it is final (PT-29, PT-33).
 */
import { unreachable } from "../../base/index.ts";
import { MAX_LOGGED_BODY_CHARS, parseProblem } from "./retry-after.ts";

/** What the shell reports when no WebSocket came about. */
export type ConnectFailure =
  /** The portal answered the upgrade with another status. */
  | {
      readonly kind: "refused-upgrade";
      readonly status: number;
      readonly retryAfter?: string;
      readonly contentType?: string;
      readonly body: string;
    }
  /** TLS failed; `code` is the runtime's, such as `CERT_HAS_EXPIRED`. */
  | { readonly kind: "tls"; readonly code: string }
  /** No address could be reached; `code` such as `ECONNREFUSED`. All of them leave the set (PT-21). */
  | { readonly kind: "unreachable"; readonly code: string }
  /** Anything else between TCP and the end of the upgrade. */
  | { readonly kind: "broken"; readonly detail: string };

/** An end after which the machine tries again. */
export type TransientError =
  | { readonly kind: "http"; readonly status: number; readonly detail: string }
  | { readonly kind: "tls" | "unreachable"; readonly code: string }
  | { readonly kind: "broken"; readonly detail: string }
  | { readonly kind: "connect-timeout" | "join-timeout" | "heartbeats-unanswered" | "replaced" }
  | { readonly kind: "closed"; readonly code: number }
  | { readonly kind: "channel-closed"; readonly event: "phx_close" | "phx_error" }
  | { readonly kind: "disconnected"; readonly reason: string };

/** An end for good: the process ends with one line and a code of its own (PT-33). */
export type FatalError =
  | { readonly kind: "invalid-token"; readonly detail: string }
  | { readonly kind: "authentication-failed"; readonly detail: string }
  | { readonly kind: "login-failed"; readonly reason: string }
  | { readonly kind: "certificate"; readonly code: string }
  | { readonly kind: "max-retries"; readonly lastError: TransientError };

/**
 * Codes that say the portal's certificate is not to be trusted (PT-29). It does not mend itself, and
 * trying again would hide the one thing the operator has to see (founding requirements 001, 003).
 */
const CERTIFICATE_CODES: ReadonlySet<string> = new Set([
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
]);

export function isCertificateCode(code: string): boolean {
  return code.startsWith("CERT_") || CERTIFICATE_CODES.has(code);
}

export type Verdict =
  | { readonly fatal: FatalError }
  | { readonly transient: TransientError; readonly retryAfter?: string };

/** Which failures to connect are final (PT-29). */
export function classifyFailure(failure: ConnectFailure): Verdict {
  switch (failure.kind) {
    case "refused-upgrade":
      return classifyStatus(failure);
    case "tls":
      if (isCertificateCode(failure.code)) return { fatal: { kind: "certificate", code: failure.code } };
      return { transient: { kind: "tls", code: failure.code } };
    case "unreachable":
    case "broken":
      return { transient: failure };
    default:
      return unreachable(failure);
  }
}

function classifyStatus(failure: Extract<ConnectFailure, { kind: "refused-upgrade" }>): Verdict {
  const problem = parseProblem(failure.contentType, failure.body);
  const detail = problem?.detail ?? problem?.code ?? failure.body.slice(0, MAX_LOGGED_BODY_CHARS);
  if (failure.status === 401) {
    const isToken = problem?.code === undefined || /^(invalid|missing)_token$/.test(problem.code);
    return { fatal: { kind: isToken ? "invalid-token" : "authentication-failed", detail } };
  }
  return {
    transient: { kind: "http", status: failure.status, detail },
    ...(failure.retryAfter === undefined ? {} : { retryAfter: failure.retryAfter }),
  };
}

/** The one code of a fatal error (PG-120): the exit code follows from it, and nothing else (PG-14). */
export function codeOf(error: FatalError): "auth" | "portal_unreachable" | "portal_tls" {
  switch (error.kind) {
    case "invalid-token":
    case "authentication-failed":
    case "login-failed":
      return "auth";
    case "max-retries":
      return "portal_unreachable";
    case "certificate":
      return "portal_tls";
    default:
      return unreachable(error);
  }
}

/** One line for people: what happened and, where there is one, the remedy. */
export function describeFatal(error: FatalError): string {
  switch (error.kind) {
    case "invalid-token":
      return "the portal refused the token: it is unknown, revoked or expired, or of another kind";
    case "authentication-failed":
      return `the portal refused to authenticate us: ${error.detail}`;
    case "login-failed":
      return `the portal refused the join: ${error.reason}`;
    case "certificate":
      return `the portal's certificate is not valid: ${error.code}; ${remedyFor(error.code)}`;
    case "max-retries":
      return `the portal cannot be reached: ${describeTransient(error.lastError)}`;
    default:
      return unreachable(error);
  }
}

/** What mends a certificate that is not accepted; it is not tried again (PT-29). */
function remedyFor(code: string): string {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID" || code === "HOSTNAME_MISMATCH") {
    return "--api-url must have a name that the certificate is for";
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return "renew it, or set the clock of this host";
  }
  return "if its authority is your own, name the authority's certificate with --ca-file";
}

/** What OpenSSL makes of an answer in plain text. */
const NO_TLS_CODES: ReadonlySet<string> = new Set([
  "EPROTO",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
]);

/** A few words for logs and for the end of `describeFatal`. */
export function describeTransient(error: TransientError): string {
  switch (error.kind) {
    case "http":
      return `HTTP ${error.status}${error.detail === "" ? "" : ` ${error.detail}`}`;
    case "tls":
      return `TLS failed: ${error.code}${NO_TLS_CODES.has(error.code) ? "; what answers there may not speak TLS" : ""}`;
    case "unreachable":
      return `no connection: ${error.code}`;
    case "broken":
      return error.detail;
    case "connect-timeout":
      return "connecting took too long";
    case "join-timeout":
      return "the join was not answered";
    case "heartbeats-unanswered":
      return "heartbeats were not answered";
    case "replaced":
      return "another process connected with the same identity";
    case "closed":
      return `the connection was closed with code ${error.code}`;
    case "channel-closed":
      return `the portal ended the channel (${error.event})`;
    case "disconnected":
      return `the portal disconnected us: ${error.reason}`;
    default:
      return unreachable(error);
  }
}
