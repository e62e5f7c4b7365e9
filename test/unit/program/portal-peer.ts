/** A portal in this process and raw WebSocket peers, for tests over the loopback interface. */
import { randomFillSync } from "node:crypto";
import { WebSocket } from "ws";
import { parsed, type Random, SILENT, toBase64 } from "../../../src/base/index.ts";
import type { ProgramIo, ProgramSignal } from "../../../src/program/io.ts";
import type { PortalOptions } from "../../../src/program/options.ts";
import { runPortal } from "../../../src/program/portal/index.ts";

export const RANDOM: Random = { fill: (bytes) => randomFillSync(bytes) };

export interface TestPortal {
  readonly url: string;
  readonly tokens: { readonly gateway: string; readonly relay: string; readonly client: string };
  readonly lines: readonly string[];
  readonly errors: readonly string[];
  signal(signal: ProgramSignal): void;
  /** Stops it and returns its exit code. */
  stop(): Promise<number>;
}

export const OPTIONS: PortalOptions = {
  dev: true,
  devInsecure: false,
  listen: "127.0.0.1:0",
  config: undefined,
  tlsCert: undefined,
  tlsKey: undefined,
  kind: undefined,
  words: [],
};

export interface TestIo extends ProgramIo {
  readonly lines: string[];
  readonly errors: string[];
  signal(signal: ProgramSignal): void;
  whenPrinted(line: string): Promise<void>;
}

export function createIo(env: Readonly<Record<string, string>> = {}): TestIo {
  const lines: string[] = [];
  const errors: string[] = [];
  const listeners = new Set<(signal: ProgramSignal) => void>();
  const waiting: { readonly line: string; readonly resolve: () => void }[] = [];
  return {
    lines,
    errors,
    env,
    token: undefined,
    log: SILENT,
    logControl: {
      filter: () => "off",
      setFilter: parsed,
      resetFilter: () => {},
      counters: () => ({ suppressed: 0, dropped: 0 }),
      reopen: () => {},
    },
    print(line) {
      lines.push(line);
      for (const { line: wanted, resolve } of waiting) if (wanted === line) resolve();
    },
    printError: (line) => errors.push(line),
    onSignal(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    signal(signal) {
      for (const listener of [...listeners]) listener(signal);
    },
    whenPrinted: (line) =>
      new Promise((resolve) => {
        if (lines.includes(line)) resolve();
        else waiting.push({ line, resolve });
      }),
  };
}

export async function startPortal(
  options: Partial<PortalOptions> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<TestPortal> {
  const io = createIo(env);
  const exit = runPortal({ ...OPTIONS, ...options }, io);
  await Promise.race([io.whenPrinted("ready"), exit]);
  const value = (name: string): string =>
    io.lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  return {
    url: value("POSTERN_API_URL"),
    tokens: { gateway: value("GATEWAY_TOKEN"), relay: value("RELAY_TOKEN"), client: value("CLIENT_TOKEN") },
    lines: io.lines,
    errors: io.errors,
    signal: io.signal,
    async stop() {
      io.signal("SIGTERM");
      return await exit;
    },
  };
}

export interface RawFrame {
  readonly topic: string;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read into replies without a schema.
  readonly payload: any;
  readonly ref: unknown;
}

/** A WebSocket that speaks frames by hand. */
export interface RawPeer {
  readonly socket: WebSocket;
  send(event: string, payload: unknown, ref?: unknown, topic?: string): void;
  sendText(text: string): void;
  /** The next frame with this event, leaving others for later calls. */
  next(event: string): Promise<RawFrame>;
  /** The code of the close frame. */
  closed(): Promise<number>;
  /** Everything that came and was not asked for. */
  readonly rest: readonly RawFrame[];
}

export interface RawLogin {
  readonly role: "client" | "gateway" | "relay";
  readonly token: string;
  readonly id?: string;
  readonly key?: Uint8Array;
  readonly version?: string;
  /** Options of the connection, such as the address that it comes from. */
  readonly from?: { readonly localAddress: string };
}

export function loginUrl(url: string, login: RawLogin): string {
  const { role, id = `${role}-1`, key = new Uint8Array(32).fill(7) } = login;
  const query = new URLSearchParams({ external_id: id, name: id, public_key: toBase64(key) });
  if (role === "relay") query.set("ipv4", "192.0.2.1");
  return `${url}/${role}/websocket?${query}`;
}

export function openSocket(url: string, login: RawLogin): WebSocket {
  const component = login.role === "client" ? "headless-client" : login.role;
  return new WebSocket(loginUrl(url, login), {
    ...login.from,
    headers: {
      "X-Authorization": `Bearer ${login.token}`,
      "User-Agent": `Linux/6 ${component}/${login.version ?? "1.5.0"} test`,
    },
  });
}

/** Connects and reads frames; joins unless told otherwise. */
export async function connectPeer(
  url: string,
  login: RawLogin & { readonly joins?: boolean },
): Promise<RawPeer> {
  const socket = openSocket(url, login);
  const rest: RawFrame[] = [];
  const waiting: { readonly event: string; readonly resolve: (frame: RawFrame) => void }[] = [];
  let closeCode: number | undefined;
  let onClosed: (code: number) => void = () => undefined;
  socket.on("message", (data) => {
    const frame = JSON.parse(data.toString()) as RawFrame;
    const at = waiting.findIndex(({ event }) => event === frame.event);
    if (at < 0) rest.push(frame);
    else waiting.splice(at, 1)[0]?.resolve(frame);
  });
  socket.on("close", (code) => {
    closeCode = code;
    onClosed(code);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("error", reject);
  });
  socket.on("error", () => undefined);
  let ref = 0;
  const peer: RawPeer = {
    socket,
    rest,
    sendText: (text) => socket.send(text),
    send(event, payload, own, topic = login.role) {
      socket.send(JSON.stringify({ topic, event, payload, ref: own === undefined ? ref++ : own }));
    },
    next(event) {
      const at = rest.findIndex((frame) => frame.event === event);
      const known = at < 0 ? undefined : rest.splice(at, 1)[0];
      if (known !== undefined) return Promise.resolve(known);
      return new Promise((resolve) => waiting.push({ event, resolve }));
    },
    closed: () =>
      closeCode === undefined ? new Promise((resolve) => (onClosed = resolve)) : Promise.resolve(closeCode),
  };
  if (login.joins !== false) {
    peer.send("phx_join", {});
    await peer.next("phx_reply");
  }
  return peer;
}
