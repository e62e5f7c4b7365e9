/**
 * wg-quick's configuration file (WG-63), as a pure function from text to data or the first mistake.
 *
 *     [Interface]                      [Peer]
 *     PrivateKey = base64              PublicKey = base64
 *     Address = 10.0.0.1/24, …         AllowedIPs = 10.0.0.2/32, …
 *     ListenPort = 51820               Endpoint = host:51820
 */
import { malformed, type Parsed, type Prefix, parsed, parseIp, parsePrefix, toHex } from "../base/index.ts";
import { type Endpoint, parseEndpoint } from "./endpoint.ts";
import { parseKeyBase64 } from "./key.ts";

export interface WgConfig {
  readonly privateKey: Uint8Array | undefined;
  /** 0: chosen by the system. */
  readonly listenPort: number;
  /** 0: none. */
  readonly fwMark: number;
  readonly addresses: readonly InterfaceAddress[];
  readonly mtu: number | undefined;
  /** A name stands in rt_tables. */
  readonly table: "auto" | "off" | number | { readonly name: string; readonly line: number };
  readonly dnsServers: readonly Uint8Array[];
  readonly dnsDomains: readonly string[];
  readonly hooks: readonly Hook[];
  readonly peers: readonly WgConfigPeer[];
}

export interface InterfaceAddress {
  readonly address: Uint8Array;
  readonly bits: number;
}

export type HookKind = "PreUp" | "PostUp" | "PreDown" | "PostDown";

export interface Hook {
  readonly kind: HookKind;
  readonly command: string;
  readonly line: number;
}

export interface WgConfigPeer {
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly allowedIps: readonly Prefix[];
  readonly endpoint: Endpoint | undefined;
  /** 0: off. */
  readonly keepaliveSeconds: number;
  readonly line: number;
}

/** A mistake in the file: what people read behind `FILE:line:`. */
export interface ConfigMistake {
  readonly line: number;
  readonly message: string;
}

type Outcome<T> = { readonly ok: true; readonly value: T } | ({ readonly ok: false } & ConfigMistake);

const MTU_MIN = 576;
const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Draft
  extends Mutable<Omit<WgConfig, "addresses" | "dnsServers" | "dnsDomains" | "hooks" | "peers">> {
  readonly addresses: InterfaceAddress[];
  readonly dnsServers: Uint8Array[];
  readonly dnsDomains: string[];
  readonly hooks: Hook[];
  readonly peers: PeerDraft[];
}

interface PeerDraft extends Mutable<Omit<WgConfigPeer, "publicKey" | "allowedIps">> {
  publicKey: Uint8Array | undefined;
  readonly allowedIps: Prefix[];
}

/** Sets one value, or says what is wrong with it. */
type Setter<T> = (target: T, value: string, line: number) => string | undefined;

const INTERFACE_KEYS: Readonly<Record<string, Setter<Draft>>> = {
  privatekey(draft, value) {
    draft.privateKey = parseKeyBase64(value);
    return draft.privateKey === undefined ? "is not a key: 44 characters of base64" : undefined;
  },
  listenport: (draft, value) => {
    const port = parseNumber(value, 0, U16_MAX);
    if (port === undefined) return "is not a port from 0 to 65535";
    draft.listenPort = port;
    return undefined;
  },
  fwmark: (draft, value) => {
    const mark = value === "off" ? 0 : parseMark(value);
    if (mark === undefined) return "is neither a number nor 'off'";
    draft.fwMark = mark;
    return undefined;
  },
  address: (draft, value) =>
    eachOf(value, (text) => {
      const address = parseInterfaceAddress(text);
      if (address === undefined) return `'${text}' is not an address`;
      draft.addresses.push(address);
      return undefined;
    }),
  mtu: (draft, value) => {
    draft.mtu = parseNumber(value, MTU_MIN, U16_MAX);
    return draft.mtu === undefined ? `is not a number from ${MTU_MIN} to ${U16_MAX}` : undefined;
  },
  table: (draft, value, line) => {
    const number = parseNumber(value, 1, U32_MAX);
    const word = value.toLowerCase();
    if (number !== undefined) draft.table = number;
    else if (word === "auto" || word === "off") draft.table = word;
    else if (/^[A-Za-z][\w.-]*$/.test(value)) draft.table = { name: value, line };
    else return "is neither 'auto', 'off', a number nor the name of a table";
    return undefined;
  },
  dns: (draft, value) =>
    eachOf(value, (text) => {
      const server = parseIp(text);
      if (server.ok) draft.dnsServers.push(server.value);
      else if (/^[A-Za-z0-9_.-]+$/.test(text)) draft.dnsDomains.push(text);
      else return `'${text}' is neither an address nor a domain`;
      return undefined;
    }),
  preup: hookSetter("PreUp"),
  postup: hookSetter("PostUp"),
  predown: hookSetter("PreDown"),
  postdown: hookSetter("PostDown"),
  saveconfig: (_draft, value) => {
    const word = value.toLowerCase();
    if (word === "true") return "is not supported: files of users are not written";
    return word === "false" ? undefined : "is neither 'true' nor 'false'";
  },
};

const PEER_KEYS: Readonly<Record<string, Setter<PeerDraft>>> = {
  publickey: (peer, value) => {
    peer.publicKey = parseKeyBase64(value);
    return peer.publicKey === undefined ? "is not a key: 44 characters of base64" : undefined;
  },
  presharedkey: (peer, value) => {
    peer.presharedKey = parseKeyBase64(value);
    return peer.presharedKey === undefined ? "is not a key: 44 characters of base64" : undefined;
  },
  allowedips: (peer, value) =>
    eachOf(value, (text) => {
      const prefix = parsePrefix(text);
      if (!prefix.ok) return `'${text}' is not a network`;
      peer.allowedIps.push(prefix.value);
      return undefined;
    }),
  endpoint: (peer, value) => {
    peer.endpoint = parseEndpoint(value);
    return peer.endpoint === undefined ? "is not 'host:port' or '[v6]:port'" : undefined;
  },
  persistentkeepalive: (peer, value) => {
    const seconds = value === "off" ? 0 : parseNumber(value, 0, U16_MAX);
    if (seconds === undefined) return "is neither a number from 0 to 65535 nor 'off'";
    peer.keepaliveSeconds = seconds;
    return undefined;
  },
};

/** Keys that may be given several times; the values add up. */
const REPEATABLE = new Set(["address", "dns", "preup", "postup", "predown", "postdown", "allowedips"]);

/** Reads the whole file; stops at the first mistake. */
export function parseWgConfig(text: string): Outcome<WgConfig> {
  const draft = createDraft();
  let section: "none" | "interface" | "peer" = "none";
  let seen = new Set<string>();
  for (const [i, raw] of text.split("\n").entries()) {
    const line = i + 1;
    const content = raw.replace(/#.*$/, "").trim();
    if (content === "") continue;
    const header = /^\[(.*)\]$/.exec(content)?.[1]?.trim().toLowerCase();
    if (header !== undefined) {
      if (header !== "interface" && header !== "peer") return mistake(line, `unknown section '${content}'`);
      section = header;
      if (header === "peer") draft.peers.push(createPeerDraft(line));
      // Several [Interface] sections are one, as for wg-quick; each [Peer] is another peer.
      if (header === "peer") seen = new Set();
      continue;
    }
    const pair = parsePair(content);
    if (pair === undefined) return mistake(line, `'${content}' is not of the form 'key = value'`);
    const problem = applyPair(draft, section, pair, seen, line);
    if (problem !== undefined) return mistake(line, problem);
  }
  return finish(draft);
}

function parsePair(content: string): { readonly key: string; readonly value: string } | undefined {
  const at = content.indexOf("=");
  if (at <= 0) return undefined;
  return { key: content.slice(0, at).trim(), value: content.slice(at + 1).trim() };
}

function applyPair(
  draft: Draft,
  section: "none" | "interface" | "peer",
  { key, value }: { readonly key: string; readonly value: string },
  seen: Set<string>,
  line: number,
): string | undefined {
  const name = key.toLowerCase();
  if (section === "none") return `'${key}' stands before the first section`;
  const peer = draft.peers.at(-1);
  const inPeer = section === "peer" && peer !== undefined;
  const isKnown = Object.hasOwn(inPeer ? PEER_KEYS : INTERFACE_KEYS, name);
  if (!isKnown) return `unknown key '${key}' in [${inPeer ? "Peer" : "Interface"}]`;
  if (seen.has(name) && !REPEATABLE.has(name)) return `'${key}' is given twice`;
  seen.add(name);
  const problem = inPeer ? PEER_KEYS[name]?.(peer, value, line) : INTERFACE_KEYS[name]?.(draft, value, line);
  return problem === undefined ? undefined : `${key} ${problem}`;
}

function finish(draft: Draft): Outcome<WgConfig> {
  const peers: WgConfigPeer[] = [];
  const keys = new Set<string>();
  for (const peer of draft.peers) {
    const { publicKey } = peer;
    if (publicKey === undefined) return mistake(peer.line, "this [Peer] has no PublicKey");
    const key = toHex(publicKey);
    if (keys.has(key)) return mistake(peer.line, "a [Peer] with this PublicKey stands above already");
    keys.add(key);
    peers.push({ ...peer, publicKey });
  }
  return { ok: true, value: { ...draft, peers } };
}

function createDraft(): Draft {
  return {
    privateKey: undefined,
    listenPort: 0,
    fwMark: 0,
    mtu: undefined,
    table: "auto",
    addresses: [],
    dnsServers: [],
    dnsDomains: [],
    hooks: [],
    peers: [],
  };
}

function createPeerDraft(line: number): PeerDraft {
  return {
    publicKey: undefined,
    presharedKey: undefined,
    allowedIps: [],
    endpoint: undefined,
    keepaliveSeconds: 0,
    line,
  };
}

function mistake(line: number, message: string): { readonly ok: false } & ConfigMistake {
  return { ok: false, line, message };
}

function hookSetter(kind: HookKind): Setter<Draft> {
  return (draft, command, line) => {
    if (command === "") return "is empty";
    draft.hooks.push({ kind, command, line });
    return undefined;
  };
}

/** Applies `take` to each member of a comma-separated list; the first problem ends it. */
function eachOf(value: string, take: (text: string) => string | undefined): string | undefined {
  // An empty AllowedIPs is legal for wg: a peer that may send nothing.
  for (const text of value.split(",").map((member) => member.trim())) {
    if (text === "") continue;
    const problem = take(text);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const prefix = parsePrefix(text);
  const address = parseIp(text.split("/")[0] ?? "");
  // The host part is kept: it is the address; the length says which network it is in.
  return prefix.ok && address.ok ? { address: address.value, bits: prefix.value.bits } : undefined;
}

export function parseNumber(text: string, min: number, max: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

function parseMark(text: string): number | undefined {
  if (/^0x[0-9a-fA-F]{1,8}$/.test(text)) return Number(text);
  return parseNumber(text, 0, U32_MAX);
}

const NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/;

/** Interface name and file behind the argument of `postern wg` (WG-63). */
export function locateConfig(argument: string): Parsed<{ readonly name: string; readonly path: string }> {
  if (!argument.includes("/") && NAME.test(argument) && !argument.endsWith(".conf")) {
    return parsed({ name: argument, path: `/etc/wireguard/${argument}.conf` });
  }
  const file = argument.split("/").at(-1) ?? "";
  const name = file.endsWith(".conf") ? file.slice(0, -".conf".length) : "";
  if (!NAME.test(name)) {
    return malformed(`'${argument}' is not NAME.conf with a NAME of 1 to 15 letters, digits or _=+.-`);
  }
  return parsed({ name, path: argument });
}
