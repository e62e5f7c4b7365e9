/** What the relay's options for streams mean (RL-64, RL-200). */
import {
  contains,
  LOOPBACK,
  PosternError,
  parseSocketAddress,
  type SocketAddress,
} from "../../base/index.ts";
import type { RelayOptions } from "../options.ts";
import type { TlsPaths } from "../tls-files.ts";

/** Absent: no such listener. */
export interface StreamSettings {
  readonly tls?: {
    readonly listen: SocketAddress;
    readonly paths: TlsPaths;
    /** Absent: the certificate's first name. */
    readonly name: string | undefined;
  };
  readonly tcp?: { readonly listen: SocketAddress };
}

export type StreamOptions = Pick<
  RelayOptions,
  "tlsListen" | "tlsCert" | "tlsKey" | "tlsName" | "tcpListen" | "devInsecure"
>;

/** @throws PosternError `usage` */
export function readStreamSettings(options: StreamOptions): StreamSettings {
  const tls = readTls(options);
  const tcp = readTcp(options);
  return { ...(tls && { tls }), ...(tcp && { tcp }) };
}

function readTls({ tlsListen, tlsCert, tlsKey, tlsName }: StreamOptions): StreamSettings["tls"] {
  const given = [tlsListen, tlsCert, tlsKey];
  if (given.every((value) => value === undefined)) return undefined;
  if (tlsListen === undefined || tlsCert === undefined || tlsKey === undefined) {
    throw usage("--tls-listen, --tls-cert and --tls-key go together", "give all three, or none");
  }
  const listen = readListen("--tls-listen", tlsListen);
  return { listen, paths: { certPath: tlsCert, keyPath: tlsKey }, name: tlsName };
}

function readTcp({ tcpListen, devInsecure }: StreamOptions): StreamSettings["tcp"] {
  if (tcpListen === undefined) return undefined;
  const listen = readListen("--tcp-listen", tcpListen);
  if (devInsecure || LOOPBACK.some((prefix) => contains(prefix, listen.address))) return { listen };
  throw usage(
    `--tcp-listen ${tcpListen} is not on loopback`,
    "use --tls-listen; --dev-insecure allows it for tests",
  );
}

function readListen(option: string, text: string): SocketAddress {
  const address = parseSocketAddress(text);
  if (address.ok) return address.value;
  throw usage(`${option} ${text} is not ADDR:PORT`, "for example 0.0.0.0:443 or [::]:443");
}

function usage(message: string, hint: string): PosternError {
  return new PosternError("usage", message, hint);
}
