/** Sockets without a kernel, as programs have them (PG-120). They are made of web streams, alike in all runtimes. */

/** One end of a connection. */
export interface Addr {
  readonly address: string;
  readonly port: number;
}

/**
 * A TCP connection. Closing `writable` sends FIN; reading goes on until the other end closes. What is not read
 * closes the receive window, and a write waits until the send buffer has room (PG-125).
 */
export interface TcpSocket extends AsyncDisposable {
  readonly local: Addr;
  readonly remote: Addr;
  /**
   * Errors with a PosternError `reset`, `timeout`, `prohibited` or `closed`. A stream of bytes:
   * `getReader({ mode: "byob" })` reads into memory of the caller's, which costs less where much comes (PG-125).
   */
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Ends the connection at once, by RST. */
  abort(reason?: unknown): void;
  /** Probes an idle peer after so many milliseconds; 0: never. */
  setKeepAlive(ms: number): void;
  /** Nagle's algorithm is never on; this is for those who switch it off. */
  setNoDelay(isOn: boolean): void;
  /** When nothing goes either way any more. Never rejects. */
  readonly closed: Promise<void>;
}

/** A UDP socket of one family. 256 datagrams wait to be received, newer ones are lost (PG-125). */
export interface UdpSocket extends AsyncDisposable {
  readonly local: Addr;
  /**
   * A name is resolved once and remembered; one without an address of the socket's family is nobody, and the datagram is
   * lost.
   *
   * @throws PosternError `closed`, `host` where it is too long, `unreachable` for an address of the other family
   */
  send(data: Uint8Array, to: { readonly host: string; readonly port: number }): void;
  receive(options?: {
    readonly signal?: AbortSignal;
  }): Promise<{ readonly data: Uint8Array<ArrayBuffer>; readonly from: Addr }>;
  close(): void;
}
