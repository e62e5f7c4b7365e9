/** Running nft (PG-69, D-21). */
import { execFile, spawnSync } from "node:child_process";
import { PosternError } from "../base/index.ts";
import { helperEnvironment } from "./helper-programs.ts";

const NFT_MS_MAX = 10_000;
const OUTPUT_BYTES_MAX = 64 << 20;
const LIMITS = { encoding: "utf8", timeout: NFT_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX } as const;

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
  const reason = child.stderr.trim().split("\n")[0] ?? "";
  throw new PosternError("host", `nft refused the rules: ${reason}`, "see 'nft list ruleset'");
}

/** The same in the background; `undefined` when nft fails, as it does for what is not there. */
export function nftLater(parameters: readonly string[], input = ""): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = execFile("nft", [...parameters], { ...LIMITS, env: helperEnvironment() }, (error, output) =>
      resolve(error === null ? output : undefined),
    );
    // A child that ends without reading is told by its exit status.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** An interface name as it stands in a rule. @throws PosternError `usage` */
export function quoteInterface(name: string): string {
  // Interface names may hold anything but white space and slashes; a quote would end the string.
  if (!/^[^\s"/\\]{1,15}$/.test(name))
    throw new PosternError("usage", `interface name '${name}' is not usable`);
  return `"${name}"`;
}

function notRun(cause: Error): PosternError {
  const isMissing = "code" in cause && cause.code === "ENOENT";
  return new PosternError(
    "host",
    isMissing ? "cannot set up masquerading: nft is not installed" : "cannot run nft",
    isMissing ? "install nftables, or use --masquerade off and set up forwarding yourself" : undefined,
    { cause },
  );
}
