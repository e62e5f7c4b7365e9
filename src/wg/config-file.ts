/**
 * wg-quick's configuration file (WG-63), as a pure function from text to data or the first mistake.
 *
 *     [Interface]                      [Peer]
 *     PrivateKey = base64              PublicKey = base64
 *     Address = 10.0.0.1/24, …         AllowedIPs = 10.0.0.2/32, …
 *     ListenPort = 51820               Endpoint = host:51820
 *
 * What wg-quick accepts is accepted here with the same meaning: `test/vectors/wg-conf` holds odd files
 * with wg-quick's verdict on each. Where the meaning may surprise, or differs, the file has a warning.
 */
import {
  equalBytes,
  equalIp,
  malformed,
  type Parsed,
  type Prefix,
  parsed,
  parsePrefix,
  U16_MAX,
  U32_MAX,
} from "../base/index.ts";
import { type ConfigPair, type ConfigRemark, cutConfig } from "./config-line.ts";
import {
  type ConfigHost,
  type InterfaceAddress,
  NO_HOST,
  parseAnyBase,
  parseInterfaceAddress,
  parseNumber,
  parsePort,
} from "./config-value.ts";
import { type Endpoint, parseEndpoint } from "./endpoint.ts";
import { isZeroKey, parseKeyBase64 } from "./key.ts";

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
  /** Name servers and search domains, as they stand in the file. */
  readonly dns: readonly string[];
  readonly hooks: readonly Hook[];
  readonly peers: readonly WgConfigPeer[];
  /** What is accepted but may not mean what its writer thinks. */
  readonly warnings: readonly ConfigRemark[];
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
}

type Outcome<T> = { readonly ok: true; readonly value: T } | ({ readonly ok: false } & ConfigRemark);

/** What Linux takes for a TUN device. */
const MTU_MIN = 68;
const RT_TABLE_MAIN = 254;
const NOT_A_KEY = "is not a key: 44 characters of base64";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Draft extends Mutable<Omit<WgConfig, "addresses" | "dns" | "hooks" | "peers" | "warnings">> {
  readonly addresses: InterfaceAddress[];
  readonly dns: string[];
  readonly hooks: Hook[];
  readonly peers: PeerDraft[];
  readonly warnings: ConfigRemark[];
}

/** What a [Peer] does not say stays as an earlier one of the same key has it. */
interface PeerDraft {
  readonly line: number;
  publicKey?: Uint8Array;
  presharedKey?: { readonly key: Uint8Array | undefined };
  readonly allowedIps: Prefix[];
  endpoint?: { readonly value: Endpoint | undefined };
  keepaliveSeconds?: number;
}

interface ValueContext {
  readonly line: number;
  readonly host: ConfigHost;
  /** Remembers something to know about the value. */
  readonly warn: (remark: string | undefined) => void;
}

/** Sets one value, or says what is wrong with it. */
type Setter<T> = (target: T, value: string, context: ValueContext) => string | undefined;

const INTERFACE_KEYS: Readonly<Record<string, Setter<Draft>>> = {
  privatekey(draft, value) {
    const key = parseKeyBase64(value);
    if (key === undefined) return NOT_A_KEY;
    draft.privateKey = isZeroKey(key) ? undefined : key;
    return undefined;
  },
  listenport: (draft, value, { host, warn }) => {
    const port = parsePort(value, host);
    if (port === undefined) return "is not a port from 0 to 65535";
    warn(port.remark);
    draft.listenPort = port.value;
    return undefined;
  },
  fwmark: (draft, value) => {
    const mark = isOff(value) ? 0 : parseMark(value);
    if (mark === undefined) return "is neither a number nor 'off'";
    draft.fwMark = mark;
    return undefined;
  },
};

/** Keys that wg-quick keeps for itself. */
const QUICK_KEYS: Readonly<Record<string, Setter<Draft>>> = {
  address: (draft, value, { warn }) =>
    eachWord(value, (text) => {
      const address = parseInterfaceAddress(text);
      if (address === undefined) return `'${text}' is not an address`;
      warn(address.remark);
      const problem = problemWith(address.value, draft.addresses);
      if (problem !== undefined) return `'${text}' ${problem}`;
      draft.addresses.push(address.value);
      return undefined;
    }),
  mtu: (draft, value, { warn }) => {
    if (value === "") return undefined;
    const mtu = parseAnyBase(value, MTU_MIN, U16_MAX);
    if (mtu === undefined) return `is not a number from ${MTU_MIN} to ${U16_MAX}`;
    warn(mtu.remark);
    draft.mtu = mtu.value;
    return undefined;
  },
  table: (draft, value, { line, warn }) => {
    const number = parseAnyBase(value, 0, U32_MAX);
    if (number !== undefined) {
      warn(number.remark);
      draft.table = number.value === 0 ? RT_TABLE_MAIN : number.value;
    } else if (value === "" || value === "auto") draft.table = "auto";
    else if (value === "off") draft.table = "off";
    else if (/^[A-Za-z][\w.-]*$/.test(value)) draft.table = { name: value, line };
    else return "is neither 'auto', 'off', a number nor the name of a table";
    return undefined;
  },
  dns: (draft, value) =>
    eachWord(value, (text) => {
      draft.dns.push(text);
      return undefined;
    }),
  preup: hookSetter("PreUp"),
  postup: hookSetter("PostUp"),
  predown: hookSetter("PreDown"),
  postdown: hookSetter("PostDown"),
  saveconfig: (_draft, value, { warn }) => {
    const word = value.toLowerCase();
    if (word !== "true" && word !== "false") return "is neither 'true' nor 'false'";
    if (word === "true") warn("SaveConfig has no effect: the file stays as it is");
    return undefined;
  },
};

const PEER_KEYS: Readonly<Record<string, Setter<PeerDraft>>> = {
  publickey: (peer, value) => {
    const key = parseKeyBase64(value);
    if (key === undefined) return NOT_A_KEY;
    peer.publicKey = key;
    return undefined;
  },
  presharedkey: (peer, value) => {
    const key = parseKeyBase64(value);
    if (key === undefined) return NOT_A_KEY;
    peer.presharedKey = { key: isZeroKey(key) ? undefined : key };
    return undefined;
  },
  allowedips: (peer, value) => {
    for (const text of value.split(",")) {
      const prefix = parsePrefix(text);
      if (!prefix.ok) return `'${text}' is not a network`;
      peer.allowedIps.push(prefix.value);
    }
    return undefined;
  },
  endpoint: (peer, value, { host, warn }) => {
    const endpoint = parseEndpoint(value, host);
    if (endpoint === undefined) return "is not 'host:port' or '[v6]:port'";
    warn(endpoint.remark);
    const port = endpoint.value.kind === "name" ? endpoint.value.port : endpoint.value.address.port;
    if (port === 0) warn("an endpoint with port 0 is left out: nobody can be reached there");
    peer.endpoint = { value: port === 0 ? undefined : endpoint.value };
    return undefined;
  },
  persistentkeepalive: (peer, value) => {
    const seconds = isOff(value) ? 0 : parseNumber(value, 0, U16_MAX);
    if (seconds === undefined) return "is neither a number from 0 to 65535 nor 'off'";
    peer.keepaliveSeconds = seconds;
    return undefined;
  },
};

/** Keys that may be given several times; the values add up. */
const REPEATABLE = new Set(["address", "dns", "preup", "postup", "predown", "postdown", "allowedips"]);

/** Reads the whole file; stops at the first mistake. */
export function parseWgConfig(text: string, host: ConfigHost = NO_HOST): Outcome<WgConfig> {
  const draft = createDraft();
  let seen = new Set<string>();
  for (const cut of cutConfig(text)) {
    if (cut.kind === "mistake") return mistake(cut.line, cut.message);
    if (cut.kind === "section") {
      // Several [Interface] sections are one, as for wg-quick.
      if (cut.section === "peer") {
        draft.peers.push({ line: cut.line, allowedIps: [] });
        seen = new Set();
      }
      continue;
    }
    const problem = applyPair(draft, cut, seen, host);
    if (problem !== undefined) return mistake(cut.line, problem);
  }
  return finish(draft);
}

function applyPair(draft: Draft, pair: ConfigPair, seen: Set<string>, host: ConfigHost): string | undefined {
  const { reader, key, value, line } = pair;
  const name = key.toLowerCase();
  const warn = (remark: string | undefined): void => {
    if (remark !== undefined) draft.warnings.push({ line, message: remark });
  };
  const context = { line, host, warn };
  const peer = draft.peers.at(-1);
  const inPeer = reader === "peer" && peer !== undefined;
  const keys = inPeer ? PEER_KEYS : reader === "quick" ? QUICK_KEYS : INTERFACE_KEYS;
  if (!Object.hasOwn(keys, name)) return `unknown key '${key}' in [${inPeer ? "Peer" : "Interface"}]`;
  if (reader !== "quick" && value === "") return `${key} has no value`;
  if (seen.has(name) && !REPEATABLE.has(name)) warn(`'${key}' is given twice: the last one counts`);
  seen.add(name);
  const problem = inPeer
    ? PEER_KEYS[name]?.(peer, value, context)
    : keysOf(reader)[name]?.(draft, value, context);
  return problem === undefined ? undefined : `${key} ${problem}`;
}

function keysOf(reader: ConfigPair["reader"]): Readonly<Record<string, Setter<Draft>>> {
  return reader === "quick" ? QUICK_KEYS : INTERFACE_KEYS;
}

function finish(draft: Draft): Outcome<WgConfig> {
  const peers: WgConfigPeer[] = [];
  for (const peer of draft.peers) {
    const { publicKey } = peer;
    if (publicKey === undefined) return mistake(peer.line, "this [Peer] has no PublicKey");
    const at = peers.findIndex((other) => equalBytes(other.publicKey, publicKey));
    // The later section is the later change of the same peer: it may take over others' allowed IPs.
    const [earlier] = at < 0 ? [] : peers.splice(at, 1);
    if (earlier !== undefined) {
      const message = "a [Peer] with this PublicKey stands above: these AllowedIPs replace its own";
      draft.warnings.push({ line: peer.line, message });
    }
    peers.push(mergePeer(publicKey, earlier, peer));
  }
  return { ok: true, value: { ...draft, peers } };
}

function mergePeer(publicKey: Uint8Array, earlier: WgConfigPeer | undefined, peer: PeerDraft): WgConfigPeer {
  return {
    publicKey,
    presharedKey: peer.presharedKey === undefined ? earlier?.presharedKey : peer.presharedKey.key,
    allowedIps: peer.allowedIps,
    endpoint: peer.endpoint === undefined ? earlier?.endpoint : peer.endpoint.value,
    keepaliveSeconds: peer.keepaliveSeconds ?? earlier?.keepaliveSeconds ?? 0,
  };
}

function createDraft(): Draft {
  return {
    privateKey: undefined,
    listenPort: 0,
    fwMark: 0,
    mtu: undefined,
    table: "auto",
    addresses: [],
    dns: [],
    hooks: [],
    peers: [],
    warnings: [],
  };
}

function mistake(line: number, message: string): { readonly ok: false } & ConfigRemark {
  return { ok: false, line, message };
}

/** An empty hook is none: generators write `PostUp =` for "nothing to do". */
function hookSetter(kind: HookKind): Setter<Draft> {
  return (draft, command, { line }) => {
    if (command !== "") draft.hooks.push({ kind, command, line });
    return undefined;
  };
}

/** Applies `take` to each word of a list that commas or blanks separate; the first problem ends it. */
function eachWord(value: string, take: (text: string) => string | undefined): string | undefined {
  for (const text of value.split(/[\s,]+/)) {
    if (text === "") continue;
    const problem = take(text);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** What Linux would say to the address, told before anything is set up. */
function problemWith(one: InterfaceAddress, others: readonly InterfaceAddress[]): string | undefined {
  const isV6 = one.address.length === 16;
  const isTwice = others.some(
    ({ address, bits }) => equalIp(address, one.address) && (isV6 || bits === one.bits),
  );
  if (isTwice) return "is given twice";
  if (!isV6) return undefined;
  if (one.address[0] === 0xff) return "is a multicast address";
  const isLow = one.address.every((byte, i) => byte === 0 || (i === 15 && byte === 1));
  return isLow ? "is not an address for an interface" : undefined;
}

function parseMark(text: string): number | undefined {
  if (/^0x[0-9a-fA-F]{1,8}$/.test(text)) return Number(text);
  return parseNumber(text, 0, U32_MAX);
}

function isOff(value: string): boolean {
  return value.toLowerCase() === "off";
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
