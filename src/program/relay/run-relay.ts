/** `postern relay`: what comes before anything is opened; `serve-relay.ts` has the rest (RL Part A, PG-12). */
import { hostname } from "node:os";
import {
  createSeededRandom,
  type Log,
  type Random,
  randomBytes,
  type Secret,
  secret,
  toHex,
} from "../../base/index.ts";
import { readTokenFile } from "../../host/index.ts";
import { parsePortalUrl } from "../../portal/protocol/index.ts";
import { createEnding } from "../ending.ts";
import type { ProgramIo } from "../io.ts";
import type { RelayOptions } from "../options.ts";
import { createUndoStack } from "../shell/index.ts";
import { tokenOf } from "../stored-token.ts";
import { systemRandom } from "../system-random.ts";
import { type PortalAccess, readSettings, usage } from "./relay-settings.ts";
import { type RelayEmbedding, serveRelay } from "./serve-relay.ts";

const DEFAULT_INSTANCE = "relay";
const STAMP_SECRET_BYTES = 32;

/** Runs until it is told to stop, by `embedding` as a part of another program; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runRelay(
  options: RelayOptions,
  io: ProgramIo,
  embedding?: RelayEmbedding,
): Promise<number> {
  const startedAt = performance.now();
  const settings = readSettings(options);
  const portal = portalAccess(options, io);
  const random = randomSource(options, io.log);
  const stampSecret = stampSecretOf(options, random);
  if (options.check) {
    io.print("check passed");
    return 0;
  }
  const undo = createUndoStack(io.log, options.drain + STOP_MARGIN_MS);
  try {
    // From here on a stop signal is an orderly end, also in the middle of the start.
    const ending = createEnding(io);
    undo.add("signals", () => ending.close());
    const instance = options.instance ?? DEFAULT_INSTANCE;
    return await serveRelay({
      options,
      settings,
      portal,
      random,
      stampSecret,
      instance,
      io,
      undo,
      ending,
      startedAt,
      embedding,
    });
  } finally {
    await undo.run();
  }
}

/** What closing everything may take besides the drain. */
const STOP_MARGIN_MS = 5_000;

/** @throws PosternError `usage`, `token-…` */
function portalAccess(options: RelayOptions, io: ProgramIo): PortalAccess | undefined {
  const { standAlone, apiUrl } = options;
  if (standAlone) return undefined;
  if (apiUrl === undefined) {
    throw usage("the relay needs --api-url URL", "or --stand-alone, without a portal");
  }
  const url = parsePortalUrl(apiUrl);
  if (!url.ok)
    throw usage(`--api-url ${apiUrl} is no portal address`, "use ws://, wss://, http:// or https://");
  return { url: url.value, ...tokenOf(io, "relay", options.tokenPath), name: options.name ?? hostname() };
}

function randomSource({ seed }: RelayOptions, log: Log): Random {
  if (seed === undefined) return systemRandom;
  log.warn?.("ports, nonces and secrets can be predicted: --seed is for tests, not for production", { seed });
  return createSeededRandom(seed);
}

/** A new one at each start, which voids all credentials (RL-6); only by itself a relay may be given one. */
function stampSecretOf({ standAlone, stampSecretPath }: RelayOptions, random: Random): Secret<string> {
  if (stampSecretPath === undefined) return secret(toHex(randomBytes(random, STAMP_SECRET_BYTES)));
  if (!standAlone)
    throw usage("--stamp-secret-path is for --stand-alone", "the portal is told a new secret at each start");
  return secret(readTokenFile(stampSecretPath));
}
