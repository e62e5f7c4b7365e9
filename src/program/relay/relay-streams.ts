/** The relay's listeners for streams: opened at the start, their certificate read again on SIGHUP (RL-200). */
import { X509Certificate } from "node:crypto";
import type { Kernel } from "../../../bindings/linux/index.ts";
import {
  formatSocketAddress,
  type Instant,
  type Log,
  PosternError,
  type SocketAddress,
} from "../../base/index.ts";
import type { RelayStreams as RelayStreamsJoin } from "../../portal/protocol/index.ts";
import { openStreamListener, type StreamListener } from "../stream/index.ts";
import { readTlsFiles } from "../tls-files.ts";
import type { StreamSettings } from "./stream-settings.ts";

const STREAMS_MAX = 4_096;
/** Two descriptors each, a quarter of all in sum (RL-203). */
const FILES_PER_STREAM = 8;

/** How many streams a limit of open files allows. */
export function streamsMax(openFiles: number): number {
  return Math.min(STREAMS_MAX, Math.floor(openFiles / FILES_PER_STREAM));
}

export interface RelayStreamsOptions {
  readonly kernel: Kernel;
  readonly settings: StreamSettings;
  /** The relay's UDP socket, as the loopback reaches it. */
  readonly relay: SocketAddress;
  /** In all. */
  readonly maxConnections: number;
  readonly now: () => Instant;
  readonly onGone: (client: SocketAddress) => void;
  readonly log: Log;
}

export interface StreamCounts {
  readonly connections: number;
  readonly accepted: number;
  readonly refused: number;
  readonly framing: number;
  readonly visitors: number;
  readonly late: number;
}

export interface RelayStreams {
  /** What the portal is told (RL-207). */
  readonly join: RelayStreamsJoin;
  /** `undefined`: there are none. */
  counts(): StreamCounts | undefined;
  /** A certificate that cannot be used leaves the old one in place. */
  reloadCertificate(): void;
  close(): void;
}

/** @throws PosternError `config-unreadable` for the certificate, `address-in-use`, `host`, `usage` */
export async function openRelayStreams(options: RelayStreamsOptions): Promise<RelayStreams> {
  const { settings, log } = options;
  const listeners: StreamListener[] = [];
  const close = () => {
    for (const listener of listeners) listener.close();
  };
  try {
    const tls = settings.tls && (await openTls(options, settings.tls));
    if (tls !== undefined) listeners.push(tls.listener);
    const tcp = settings.tcp && (await open(options, settings.tcp.listen));
    if (tcp !== undefined) listeners.push(tcp);
    return {
      join: {
        ...(tls && { tls: { port: tls.listener.address.port, name: tls.name } }),
        ...(tcp && { tcp: { port: tcp.address.port } }),
      },
      counts: () => (listeners.length === 0 ? undefined : sumOf(listeners)),
      reloadCertificate() {
        if (settings.tls === undefined || tls === undefined) return;
        try {
          tls.listener.setCertificate(readTlsFiles(settings.tls.paths));
          log.info?.("certificate read again");
        } catch (error) {
          log.error?.("certificate not read again; the old one stays in use", { error });
        }
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function openTls(
  options: RelayStreamsOptions,
  tls: NonNullable<StreamSettings["tls"]>,
): Promise<{ readonly listener: StreamListener; readonly name: string }> {
  const certificate = readTlsFiles(tls.paths);
  const name = tls.name ?? firstName(certificate.cert);
  if (name === undefined) {
    const what = `the certificate ${tls.paths.certPath} names no host`;
    throw new PosternError("usage", what, "say with --tls-name for which name clients shall check it");
  }
  return { listener: await open(options, tls.listen, certificate), name };
}

async function open(
  { kernel, relay, maxConnections, now, onGone, log }: RelayStreamsOptions,
  listen: SocketAddress,
  certificate?: { readonly cert: Buffer; readonly key: Buffer },
): Promise<StreamListener> {
  const listener = await openStreamListener({
    listen,
    kernel,
    ...(certificate && { certificate }),
    relay,
    maxConnections,
    now,
    onGone,
    log,
  });
  const kind = certificate === undefined ? "TCP" : "TLS";
  log.info?.("listening for streams", { kind, address: formatSocketAddress(listen), maxConnections });
  return listener;
}

/** A wildcard names no host to which one could connect. */
function firstName(cert: Buffer): string | undefined {
  const names = (new X509Certificate(cert).subjectAltName ?? "").split(", ");
  const of = (kind: string) =>
    names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));
  return [...of("DNS:"), ...of("IP Address:")].find((name) => !name.includes("*"));
}

function sumOf(listeners: readonly StreamListener[]): StreamCounts {
  const zero = { connections: 0, accepted: 0, refused: 0, framing: 0, visitors: 0, late: 0 };
  return listeners.reduce((sum, listener) => {
    const { accepted, refused, framing, visitors, late } = listener.counters();
    return {
      connections: sum.connections + listener.connections(),
      accepted: sum.accepted + accepted,
      refused: sum.refused + refused,
      framing: sum.framing + framing,
      visitors: sum.visitors + visitors,
      late: sum.late + late,
    };
  }, zero);
}
