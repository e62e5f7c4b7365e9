/**
 * The shell of the portal connection: carries out what the machine of `src/portal/protocol` wants, with
 * `ws` over connections that bypass the tunnel (D-19, PT-17, PT-18).
 */
import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { rootCertificates } from "node:tls";
import { WebSocket } from "ws";
import { errnoOf, type Kernel } from "../../bindings/linux/index.ts";
import {
  formatIp,
  type Instant,
  type IpAddress,
  type Log,
  PosternError,
  parseIp,
  type Random,
  type Secret,
  type SocketAddress,
  type UnixMs,
} from "../base/index.ts";
import { openMarkedSocket, startTls } from "../host/index.ts";
import {
  type Channel,
  createPortalConnection,
  isCertificateCode,
  type LoginParams,
  MAX_PEER_FRAME_BYTES,
  MAX_SOCKET_BUFFER_BYTES,
  type PortalConnection,
  type PortalEvent,
  type PortalStateKind,
  type PortalTransmit,
  type PortalUrl,
  TCP_TIMEOUT_MS,
  toHeaderText,
} from "../portal/protocol/index.ts";

/** Opens one TCP connection; rejects with what the system said. */
export type OpenTcp = (to: SocketAddress, timeoutMs: number) => Promise<Socket>;

export interface PortalSocketOptions<M, R> {
  readonly url: PortalUrl;
  readonly channel: Channel<M, R>;
  readonly token: Secret<string>;
  readonly userAgent: string;
  /** Absent: it tries for ever to come back (PT §3 `MAX_PARTITION`). */
  readonly maxPartitionMs?: number;
  /** Trusted roots (`loadRoots`); only for `wss`. */
  readonly roots?: readonly string[];
  readonly openTcp: OpenTcp;
  /** Addresses of the portal's name, asked outside of the tunnel; default: the system's resolvers. */
  readonly resolve?: (host: string) => Promise<readonly IpAddress[]>;
  readonly now: () => Instant;
  readonly wallNow: () => UnixMs;
  readonly random: Random;
  readonly log: Log;
  /** Called for each event of the machine except `resolve`, which this shell answers itself. */
  readonly onEvent: (event: Exclude<PortalEvent<M>, { kind: "resolve" }>) => void;
  /** What no retry mends, such as a mark that is refused without privilege (exit 5). */
  readonly onError: (error: unknown) => void;
}

export interface PortalSocket<R> {
  /** Connects, or connects anew at once (PT-20). */
  connect(login: LoginParams): void;
  reconnect(): void;
  send(request: R): void;
  /** Says goodbye to the portal; the event `closed` follows. */
  close(): void;
  readonly state: PortalStateKind;
  readonly counters: PortalConnection<unknown, R>["counters"];
}

/** A body that says why an upgrade was refused is short. */
const MAX_BODY_BYTES = 16 * 1024;
const SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt";
const MAX_SLEEP_MS = 0x7fff_ffff;

/** TCP connections that carry the bypass mark, so that no resource can capture them (PT-17). */
export function markedTcp(kernel: Kernel, mark: number): OpenTcp {
  return ({ address, port }, timeoutMs) =>
    openMarkedSocket(kernel, { host: formatIp(address), port, mark, timeoutMs });
}

/** Ordinary TCP connections, for processes without a tunnel of their own. */
export const plainTcp: OpenTcp = ({ address, port }, timeoutMs) =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host: formatIp(address), port });
    const timer = setTimeout(() => socket.destroy(new Error("ETIMEDOUT")), timeoutMs);
    socket.once("error", reject);
    socket.once("close", () => clearTimeout(timer));
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeListener("error", reject);
      resolve(socket);
    });
  });

/**
 * The system's roots, or the runtime's where there are none, and those of `--ca-file` (PT-18).
 *
 * @throws PosternError `file-unreadable`
 */
export function loadRoots(caFile: string | undefined): readonly string[] {
  let roots: readonly string[] = rootCertificates;
  try {
    roots = [readFileSync(SYSTEM_ROOTS, "utf8")];
  } catch {
    // A system without a bundle; the runtime brings Mozilla's.
  }
  if (caFile === undefined) return roots;
  try {
    return [...roots, readFileSync(caFile, "utf8")];
  } catch (cause) {
    throw new PosternError("file-unreadable", `cannot read ${caFile}`, "--ca-file names a PEM file", {
      cause,
    });
  }
}

/** One attempt: first a TCP connection, then a WebSocket. */
interface Attempt {
  readonly id: number;
  isDropped: boolean;
  /** More is buffered than the machine shall add to (PT-24). */
  isFull: boolean;
  socket: WebSocket | undefined;
}

export function createPortalSocket<M, R>(options: PortalSocketOptions<M, R>): PortalSocket<R> {
  const { url, channel, random, log, maxPartitionMs } = options;
  const machine = createPortalConnection<M, R>({
    url,
    channel,
    random,
    log,
    ...(maxPartitionMs === undefined ? {} : { maxPartitionMs }),
  });
  const attempts = new Map<number, Attempt>();
  let timer: NodeJS.Timeout | undefined;
  let isTelling = false;

  /**
   * One input, then everything that follows from it, in the order of style §7. An input that an event's
   * listener makes does not overtake the events before it.
   */
  function turn(input: (now: Instant) => void): void {
    input(options.now());
    for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) carryOut(next);
    clearTimeout(timer);
    const at = machine.pollTimeout();
    if (at !== undefined) {
      const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, at - options.now()));
      timer = setTimeout(() => turn((now) => machine.handleTimeout(now)), sleepMs);
    }
    if (!isTelling) tell();
  }

  function tell(): void {
    isTelling = true;
    try {
      for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
        if (event.kind === "resolve") resolve(event.host);
        else options.onEvent(event);
      }
    } finally {
      isTelling = false;
    }
  }

  function resolve(host: string): void {
    const ask = options.resolve ?? systemResolve;
    ask(host).then(
      (addresses) => turn((now) => machine.handleAddresses(now, addresses)),
      (error: unknown) => {
        log.debug?.("the portal's name cannot be resolved", { error });
        turn((now) => machine.handleAddresses(now, []));
      },
    );
  }

  function carryOut(transmit: PortalTransmit): void {
    if (transmit.kind === "open") {
      open(transmit);
      return;
    }
    const attempt = attempts.get(transmit.attempt);
    if (transmit.kind === "text") {
      sendText(attempt, transmit);
      return;
    }
    if (attempt === undefined) return;
    if (transmit.kind === "drop") {
      attempts.delete(attempt.id);
      attempt.isDropped = true;
      attempt.socket?.terminate();
      return;
    }
    attempt.socket?.close(transmit.code);
  }

  function sendText(
    attempt: Attempt | undefined,
    transmit: Extract<PortalTransmit, { readonly kind: "text" }>,
  ): void {
    const socket = attempt?.socket;
    if (attempt === undefined || socket?.readyState !== WebSocket.OPEN) {
      // Not from within the drain of another input: the machine sees one thing after the other.
      queueMicrotask(() => turn((now) => machine.handleRejected(now, transmit)));
      return;
    }
    log.trace?.("portal message sent", { bytes: transmit.text.length });
    socket.send(transmit.text, () => {
      if (!attempt.isFull || socket.bufferedAmount > MAX_SOCKET_BUFFER_BYTES) return;
      attempt.isFull = false;
      turn((now) => machine.handleWritable(now, attempt.id, true));
    });
    if (socket.bufferedAmount <= MAX_SOCKET_BUFFER_BYTES) return;
    attempt.isFull = true;
    machine.handleWritable(options.now(), attempt.id, false);
  }

  function open({
    attempt: id,
    url: socketUrl,
    addresses,
    port,
  }: Extract<PortalTransmit, { kind: "open" }>): void {
    const attempt: Attempt = { id, isDropped: false, isFull: false, socket: undefined };
    attempts.set(id, attempt);
    firstConnection(addresses, port, options.openTcp).then(
      (tcp) => {
        if (attempt.isDropped) tcp.destroy();
        else upgrade(attempt, socketUrl, tcp);
      },
      (error: unknown) => {
        attempts.delete(id);
        if (attempt.isDropped) return;
        const privilege = privilegeError(error);
        if (privilege === undefined) fail(id, { kind: "unreachable", code: reasonOf(error) });
        else options.onError(privilege);
      },
    );
  }

  function upgrade(attempt: Attempt, socketUrl: string, tcp: Socket): void {
    const { id } = attempt;
    tcp.setNoDelay(true);
    const socket = new WebSocket(socketUrl, {
      createConnection: () => {
        if (url.scheme === "ws") return tcp;
        return startTls(tcp, { servername: url.host, ...(options.roots ? { ca: options.roots } : {}) });
      },
      headers: {
        "User-Agent": options.userAgent,
        "X-Authorization": `Bearer ${toHeaderText(options.token.reveal().trim())}`,
      },
      maxPayload: MAX_PEER_FRAME_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
    });
    attempt.socket = socket;
    let isOpen = false;
    // Before the first byte is read: an oversized frame ends the process otherwise (PT-7).
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (isOpen || !attempts.delete(id)) return;
      const code = error.code ?? "";
      const isTls = isCertificateCode(code) || /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code);
      fail(
        id,
        isTls ? { kind: "tls", code } : { kind: "broken", detail: code === "" ? error.message : code },
      );
    });
    socket.on("unexpected-response", (request, response) => {
      readBody(response, (body) => {
        request.destroy();
        if (!attempts.delete(id)) return;
        const retryAfter = response.headers["retry-after"];
        const contentType = response.headers["content-type"];
        fail(id, {
          kind: "refused-upgrade",
          status: response.statusCode ?? 0,
          body,
          ...(retryAfter === undefined ? {} : { retryAfter }),
          ...(contentType === undefined ? {} : { contentType }),
        });
      });
    });
    socket.on("open", () => {
      isOpen = true;
      turn((now) => machine.handleOpen(now, id));
    });
    socket.on("message", (data, isBinary) => {
      if (isBinary) turn((now) => machine.handleBinary(now, id));
      else turn((now) => machine.handleText(now, id, data.toString()));
    });
    socket.on("close", (code) => {
      attempts.delete(id);
      turn((now) => machine.handleClose(now, id, code));
    });
  }

  function fail(id: number, failure: Parameters<typeof machine.handleFailure>[2]): void {
    turn((now) => machine.handleFailure(now, id, failure, options.wallNow()));
  }

  return {
    connect: (login) => turn((now) => machine.connect(now, login)),
    reconnect: () => turn((now) => machine.reconnect(now)),
    send: (request) => turn((now) => machine.send(now, request)),
    close: () => turn((now) => machine.close(now)),
    get state() {
      return machine.state;
    },
    counters: machine.counters,
  };
}

/** All addresses at once; the first connection wins, later ones are closed (PT-21). */
async function firstConnection(
  addresses: readonly IpAddress[],
  port: number,
  openTcp: OpenTcp,
): Promise<Socket> {
  let winner: Socket | undefined;
  const attempts = addresses.map(async (address) => {
    const socket = await openTcp({ address, port }, TCP_TIMEOUT_MS);
    if (winner !== undefined) socket.destroy();
    winner ??= socket;
    return socket;
  });
  return await Promise.any(attempts);
}

async function systemResolve(host: string): Promise<readonly IpAddress[]> {
  const found = await lookup(host, { all: true, verbatim: true });
  return found.flatMap(({ address }) => {
    const parsed = parseIp(address);
    return parsed.ok ? [parsed.value] : [];
  });
}

function readBody(response: IncomingMessage, onBody: (body: string) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isDone = false;
  const finish = (): void => {
    if (isDone) return;
    isDone = true;
    onBody(Buffer.concat(chunks).toString());
  };
  response.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) finish();
  });
  response.on("end", finish);
  response.on("error", finish);
  response.on("close", finish);
}

/** A mark that is refused is refused for every address, and for good. */
function privilegeError(error: unknown): PosternError | undefined {
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  for (const each of errors) if (each instanceof PosternError && each.code === "privilege") return each;
  return undefined;
}

/** The reason of the last failure, as the system names it. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors.at(-1));
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && typeof error.code === "string" && !(error instanceof PosternError))
    return error.code;
  if (errnoOf(error) !== undefined && error.cause !== undefined) return reasonOf(error.cause);
  return error.message;
}
