/** Running nft (PG-69, D-21). */
import { spawnSync } from "node:child_process";
import { PosternError } from "../base/index.ts";
import { helperEnvironment, runLater } from "./helper-programs.ts";

const NFT_MS_MAX = 10_000;
const OUTPUT_BYTES_MAX = 64 << 20;
const LIMITS = { encoding: "utf8", timeout: NFT_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX } as const;
const TRY_IT = "see 'nft list ruleset'";

/**
 * Runs nft to its end and returns its output. Control stands still meanwhile, which some milliseconds at
 * start, at stop and after a change may cost.
 *
 * @throws PosternError `host` when nft is missing or refuses
 */
export function nft(parameters: readonly string[], input: string): string {
  const child = spawnSync("nft", parameters, { ...LIMITS, input, env: helperEnvironment() });
  if (child.error !== undefined) throw notRun(child.error);
  if (child.status === 0) return child.stdout;
  if (child.signal !== null) throw new PosternError("host", `nft was ended by ${child.signal}`, TRY_IT);
  const reason = child.stderr.trim().split("\n")[0] ?? "";
  throw new PosternError("host", `nft refused the rules: ${reason}`, TRY_IT);
}

/** The same in the background; `undefined` when nft fails, as it does for what is not there. */
export function nftLater(parameters: readonly string[], input = ""): Promise<string | undefined> {
  return runLater("nft", parameters, LIMITS, input);
}

/** Whether a failure means that there is no nft on this host, and so nothing that it has set. */
export function isNftMissing(error: unknown): boolean {
  return error instanceof PosternError && hasNoProgram(error.cause);
}

/** An interface name as it stands in a rule. @throws PosternError `usage` */
export function quoteInterface(name: string): string {
  // Interface names may hold anything but white space and slashes; a quote would end the string.
  if (!/^[^\s"/\\]{1,15}$/.test(name))
    throw new PosternError("usage", `interface name '${name}' is not usable`);
  return `"${name}"`;
}

function notRun(cause: Error): PosternError {
  const isMissing = hasNoProgram(cause);
  return new PosternError(
    "host",
    isMissing ? "cannot set up masquerading: nft is not installed" : "cannot run nft",
    isMissing ? "install nftables, or use --masquerade off and set up forwarding yourself" : TRY_IT,
    { cause },
  );
}

function hasNoProgram(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}
