/** `startPortal`: a portal in this process, from a file or for trying out (PG-120, PT-110). */
import { PosternError } from "../base/index.ts";
import { runPortal } from "../program/portal/index.ts";
import { createEmbeddedIo } from "./embedded-io.ts";
import { toLibraryError } from "./error.ts";
import type { CloseReason } from "./instance.ts";
import { createRecordLog } from "./log.ts";
import type { LogRecord } from "./options.ts";

/** As the options of `postern portal`. */
export interface PortalOptions {
  /** The portal's file; read again whenever it changes. */
  readonly config?: string;
  /** Brings an account, a site and tokens of its own, keeps everything in memory, and listens on loopback only. */
  readonly dev?: boolean;
  /** `ADDR:PORT`; default 127.0.0.1:8080, port 0 for any. */
  readonly listen?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** Where the state lies. */
  readonly data?: string;
  readonly trustedProxy?: readonly string[];
  /** Milliseconds in which peers are sent away at the end. */
  readonly drain?: number;
  readonly log?: (record: LogRecord) => void;
  readonly logFilter?: string;
  readonly signal?: AbortSignal;
}

export interface Portal extends AsyncDisposable {
  /** For clients and gateways, with `dev`. */
  readonly apiUrl: string | undefined;
  /** New ones of this run, with `dev`. */
  readonly tokens: { readonly client: string; readonly gateway: string; readonly relay: string } | undefined;
  readonly closed: Promise<CloseReason>;
  close(): Promise<void>;
}

/** @throws PosternError `host`; resolves when it serves */
export async function startPortal(options: PortalOptions): Promise<Portal> {
  const { signal, log, logFilter, dev = false, ...rest } = options;
  signal?.throwIfAborted();
  const said: string[] = [];
  let isReady = (): void => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const { io, stop } = createEmbeddedIo(createRecordLog(log, logFilter), (line) => {
    said.push(line);
    if (line === "ready") isReady();
  });
  const ended = runPortal(
    {
      ...{ dev, devInsecure: false, kind: undefined, words: [] },
      ...{ listen: undefined, config: undefined, tlsCert: undefined, tlsKey: undefined },
      ...rest,
    },
    io,
  ).then(
    (code): CloseReason => {
      if (code === 0) return { kind: "closed" };
      return { kind: "failed", error: toLibraryError(new PosternError("config-invalid", said.join("\n"))) };
    },
    (error: unknown): CloseReason => ({ kind: "failed", error: toLibraryError(error) }),
  );
  signal?.addEventListener("abort", stop, { once: true });
  const closed = ended.finally(() => signal?.removeEventListener("abort", stop));
  const early = await Promise.race([ready, closed]);
  if (early?.kind === "failed") throw early.error;
  const close = async (): Promise<void> => {
    stop();
    await closed;
  };
  return {
    apiUrl: lineValue(said, "POSTERN_API_URL"),
    tokens: tokensOf(said),
    closed,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function lineValue(lines: readonly string[], name: string): string | undefined {
  const prefix = `${name}=`;
  return lines.find((line) => line.startsWith(prefix))?.slice(prefix.length);
}

function tokensOf(lines: readonly string[]): Portal["tokens"] {
  const [client, gateway, relay] = ["CLIENT", "GATEWAY", "RELAY"].map((kind) =>
    lineValue(lines, `${kind}_TOKEN`),
  );
  if (client === undefined || gateway === undefined || relay === undefined) return undefined;
  return { client, gateway, relay };
}
