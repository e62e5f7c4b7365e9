/** What a client is to the program that embeds it (PG-120). */
import type { ConnectionOptions } from "node:tls";
import type { ResourceView } from "../program/control/index.ts";
import type { ConnectionView } from "../program/control/status.ts";
import type { TcpSocket, UdpSocket } from "../program/userspace/index.ts";
import type { Instance, Status } from "./instance.ts";

export type Resource = ResourceView;
export type Connection = ConnectionView;

export interface DialOptions {
  /** A name or an address of a resource. */
  readonly host: string;
  readonly port: number;
  /** Where it is given, an address of the other family is `unreachable`. Default: both, IPv6 first. */
  readonly family?: 4 | 6;
  /** Default: a minute. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Client<S = Status> extends Instance<S> {
  resources(): readonly Resource[];
  connections(): readonly Connection[];
  /** The user's switch for the internet resource. */
  setInternetResource(isActive: boolean): void;
  /** Addresses that stand for a name of a resource. @throws PosternError `not_a_resource` */
  lookup(name: string, options?: { readonly family?: 4 | 6 }): Promise<string[]>;
  /**
   * Opens a TCP connection to a resource.
   *
   * @throws PosternError `not_a_resource`, `offline`, `refused`, `prohibited`, `unreachable`, `timeout`, `closed`
   */
  dial(options: DialOptions): Promise<TcpSocket>;
  /** A UDP socket, by default for IPv4; whoever sends to IPv6 addresses opens another one. */
  udp(options?: { readonly family?: 4 | 6; readonly signal?: AbortSignal }): Promise<UdpSocket>;
  /** Milliseconds until the echo came. */
  ping(
    host: string,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<number>;
  /**
   * The web's fetch, for resources. Connections are kept. What cannot be reached rejects with the PosternError of
   * `dial`; bodies are handed on as they come.
   */
  fetch: ClientFetch;
}

/** As the web has it, and what TLS is to trust. */
export interface FetchOptions extends RequestInit {
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "rejectUnauthorized" | "servername">;
}

export type ClientFetch = (url: string | URL | Request, options?: FetchOptions) => Promise<Response>;
