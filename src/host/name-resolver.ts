/**
 * Addresses of names that the program itself needs, such as the portal's, asked for past the tunnel (PG-64).
 *
 * The system's resolver sends from sockets that nobody can mark. If its name server lies inside a resource,
 * the question goes into the tunnel, and a client that has lost its portal never finds it again. So this is
 * a stub of our own: /etc/hosts, then the name servers of /etc/resolv.conf over marked sockets.
 */
import { randomInt } from "node:crypto";
import { lookup } from "node:dns/promises";
import { setTimeout as wait } from "node:timers/promises";
import {
  type ConnectedUdp,
  connectUdp,
  errnoName,
  interfaceIndex,
  type Kernel,
  type SocketWay,
} from "../../bindings/linux/index.ts";
import {
  formatIp,
  type IpAddress,
  type Log,
  PosternError,
  parseIp,
  type SocketAddress,
} from "../base/index.ts";
import {
  type AddressQuestion,
  type AddressResponse,
  DNS_PORT,
  encodeQuery,
  type Name,
  parseResponse,
  RCODE,
  type SetupResult,
  TYPE,
  toName,
} from "../dns/index.ts";
import { openMarkedSocket, POLL_MS_MAX } from "./marked-socket.ts";
import { addressesInHosts, type NameServer, namesToTry, type ResolverSettings } from "./resolver-files.ts";
import { type ResolverFiles, readOrEmpty, readSettings, SYSTEM_FILES } from "./resolver-settings.ts";
import { shareLookups, type TimedResult } from "./setup-cache.ts";

const ANSWER_MS_MAX = 2_000;
/** How often each server is asked before a name is given up. */
const ROUNDS = 2;
/** How long the slower family may take once the other one has an address. */
const OTHER_FAMILY_MS = 300;
const REFUSED = "refused with code";

export interface NameResolverOptions extends SocketWay {
  readonly kernel: Kernel;
  readonly log: Log;
  /** The system's; tests have their own. */
  readonly files?: ResolverFiles;
  readonly port?: number;
}

/** Finds the addresses of a name. Rejects with PosternError `connect-failed`. */
export type NameResolver = (name: string) => Promise<readonly IpAddress[]>;

type Outcome =
  | {
      readonly kind: "found";
      readonly addresses: readonly IpAddress[];
      /** The smallest TTL of what was found. */
      readonly lifetimeS: number;
    }
  /** The servers know no address of that name; how long that holds, if they say so. */
  | { readonly kind: "none"; readonly lifetimeS?: number | undefined }
  | {
      readonly kind: "failed";
      readonly reason: string;
      /** The server has said so itself, rather than nothing. */
      readonly isAnswer?: boolean;
    };

/** The files are read for each name: they change with the network. */
export function createNameResolver(options: NameResolverOptions): NameResolver {
  const files = options.files ?? SYSTEM_FILES;
  return async (name) => {
    const literal = parseIp(name);
    if (literal.ok) return [literal.value];
    const known = addressesInHosts(readOrEmpty(files.hosts), name);
    if (known.length > 0) return known;
    const settings = readSettings(files);
    const outcome = await askForName(options, settings, name, askAllServers);
    switch (outcome.kind) {
      case "found":
        options.log.debug?.("name resolved", { name, addresses: outcome.addresses.map(formatIp) });
        return outcome.addresses;
      case "failed":
        throw unresolved(name, outcome.reason);
      case "none":
        return await askSystem(name);
    }
  };
}

/**
 * The same for whoever must tell "no such name" from "nobody knows" (DN-88): it never rejects. Many clients ask for
 * the same names, so what was found is shared (DN-89).
 */
export function createNameLookup(options: NameResolverOptions): (name: string) => Promise<SetupResult> {
  const files = options.files ?? SYSTEM_FILES;
  return shareLookups(async (name) => {
    // The file may change at any time, and is read faster than a server is asked.
    const known = addressesInHosts(readOrEmpty(files.hosts), name);
    if (known.length > 0) return { result: { kind: "addresses", addresses: known } };
    return await lookUpByServers(options, files, name);
  });
}

async function lookUpByServers(
  options: NameResolverOptions,
  files: ResolverFiles,
  name: string,
): Promise<TimedResult> {
  const outcome = await askForName(options, readSettings(files), name, askBothFamilies);
  switch (outcome.kind) {
    case "found":
      return { result: { kind: "addresses", addresses: outcome.addresses }, lifetimeS: outcome.lifetimeS };
    case "none":
      return {
        result: { kind: "none" },
        ...(outcome.lifetimeS !== undefined && { lifetimeS: outcome.lifetimeS }),
      };
    case "failed":
      return { result: { kind: "error" } };
    default:
      return outcome satisfies never;
  }
}

type AskAbout = (options: NameResolverOptions, settings: ResolverSettings, text: string) => Promise<Outcome>;

async function askForName(
  options: NameResolverOptions,
  settings: ResolverSettings,
  name: string,
  ask: AskAbout,
): Promise<Outcome> {
  const misses: Outcome[] = [];
  if (settings.servers.length === 0) return { kind: "none" };
  for (const text of namesToTry(name, settings)) {
    const outcome = await ask(options, settings, text);
    if (outcome.kind === "found") return outcome;
    misses.push(outcome);
  }
  return misses.find(({ kind }) => kind === "failed") ?? noneOf(misses);
}

/** Nothing there, as long as everybody says so. */
function noneOf(outcomes: readonly Outcome[]): Outcome {
  const lifetimes = outcomes.map((outcome) => (outcome.kind === "none" ? outcome.lifetimeS : undefined));
  const isSaid = lifetimes.length > 0 && lifetimes.every((lifetimeS) => lifetimeS !== undefined);
  return { kind: "none", lifetimeS: isSaid ? Math.min(...lifetimes) : undefined };
}

/** Both families at once; a family that answers late does not hold up the other. */
async function askBothFamilies(
  options: NameResolverOptions,
  settings: ResolverSettings,
  text: string,
): Promise<Outcome> {
  const name = toName(text);
  if (name === undefined) return { kind: "none" };
  const outcomes: Outcome[] = [];
  const questions = ([TYPE.AAAA, TYPE.A] as const).map(async (type) => {
    const outcome = await askServers(options, settings, { name, type });
    outcomes.push(outcome);
    if (outcome.kind !== "found") throw new Error(outcome.kind);
  });
  const all = Promise.allSettled(questions);
  const enough = Promise.any(questions).then(() => wait(OTHER_FAMILY_MS, undefined, { ref: false }));
  await Promise.race([all, enough.catch(() => all)]);
  const found = outcomes.filter((outcome) => outcome.kind === "found");
  if (found.length > 0) return joined(found);
  return outcomes.find(({ kind }) => kind === "failed") ?? noneOf(outcomes);
}

/**
 * All servers at once, over UDP and, if none knows and somebody does not say that there is no such name, over TCP
 * (DN-76): the portal must be found although the first server is dead, or the network passes no UDP.
 */
async function askAllServers(
  options: NameResolverOptions,
  settings: ResolverSettings,
  text: string,
): Promise<Outcome> {
  const name = toName(text);
  if (name === undefined) return { kind: "none" };
  const overUdp = await gather(settings, (whom, type) => askServer(options, whom, questionOf(name, type)));
  if (overUdp.kind !== "failed") return overUdp;
  const overTcp = await gather(settings, (whom, type) =>
    judged(() => askByTcp(options, whom, questionOf(name, type))),
  );
  return overTcp.kind === "failed" ? overUdp : overTcp;
}

/** What all servers say together; the slower ones have a moment once one has said all it knows. */
async function gather(
  { servers, timeoutMs = ANSWER_MS_MAX }: ResolverSettings,
  ask: (whom: Whom, type: number) => Promise<AddressResponse | string>,
): Promise<Outcome> {
  const outcomes: Outcome[] = [];
  const perServer = servers.map(async (server) => {
    const answers = await Promise.all(
      [TYPE.AAAA, TYPE.A].map(async (type) => {
        const outcome = toOutcome(server, await ask({ server, timeoutMs }, type));
        outcomes.push(outcome);
        return outcome;
      }),
    );
    if (answers.some(({ kind }) => kind === "failed")) throw new Error("failed");
  });
  const all = Promise.allSettled(perServer);
  const enough = Promise.any(perServer).then(() => wait(OTHER_FAMILY_MS, undefined, { ref: false }));
  await Promise.race([all, enough.catch(() => all)]);
  const found = outcomes.filter((outcome) => outcome.kind === "found");
  if (found.length > 0) return joined(found);
  const failed = outcomes.find(({ kind }) => kind === "failed");
  // A whole answer that there is none outweighs a server that does not answer.
  const isSaid = outcomes.some(({ kind }) => kind === "none") && !outcomes.some(isRefusal);
  return failed !== undefined && !isSaid ? failed : noneOf(outcomes.filter(({ kind }) => kind === "none"));
}

function isRefusal(outcome: Outcome): boolean {
  return outcome.kind === "failed" && outcome.isAnswer === true;
}

function joined(found: readonly Extract<Outcome, { kind: "found" }>[]): Outcome {
  const distinct = new Map(
    found.flatMap(({ addresses }) => addresses.map((address) => [formatIp(address), address] as const)),
  );
  const lifetimeS = Math.min(...found.map((one) => one.lifetimeS));
  return { kind: "found", addresses: [...distinct.values()], lifetimeS };
}

function toOutcome({ address }: NameServer, answer: AddressResponse | string): Outcome {
  if (typeof answer === "string") {
    const isAnswer = answer.startsWith(REFUSED);
    return { kind: "failed", reason: `${formatIp(address)}: ${answer}`, isAnswer };
  }
  if (answer.addresses.length === 0) return { kind: "none", lifetimeS: answer.negativeTtlS };
  return { kind: "found", addresses: answer.addresses, lifetimeS: answer.lifetimeS };
}

/** Neither number nor port is used twice, so that nobody can guess what an answer must look like. */
function questionOf(name: Name, type: number): AddressQuestion {
  return { name, type, id: randomInt(0x10000) };
}

/** With `rotate` each question begins with any of them, so that all have the same share. */
function inTurn({ servers, isRotated }: ResolverSettings): readonly NameServer[] {
  if (!isRotated) return servers;
  const first = randomInt(servers.length);
  return [...servers.slice(first), ...servers.slice(0, first)];
}

async function askServers(
  options: NameResolverOptions,
  settings: ResolverSettings,
  what: Pick<AddressQuestion, "name" | "type">,
): Promise<Outcome> {
  const { attempts = ROUNDS, timeoutMs = ANSWER_MS_MAX } = settings;
  const servers = inTurn(settings);
  let reason = "";
  for (let round = 0; round < attempts; round++) {
    for (const server of servers) {
      const question = questionOf(what.name, what.type);
      const outcome = toOutcome(server, await askServer(options, { server, timeoutMs }, question));
      if (outcome.kind !== "failed") return outcome;
      reason = outcome.reason;
    }
  }
  return { kind: "failed", reason };
}

interface Whom {
  readonly server: NameServer;
  readonly timeoutMs: number;
}

/** The answer of one server, or why there is none. */
function askServer(
  options: NameResolverOptions,
  whom: Whom,
  question: AddressQuestion,
): Promise<AddressResponse | string> {
  return judged(async () => {
    const response = await askByUdp(options, whom, question);
    return response.isTruncated ? await askByTcp(options, whom, question) : response;
  });
}

async function judged(ask: () => Promise<AddressResponse>): Promise<AddressResponse | string> {
  try {
    const response = await ask();
    const { rcode } = response;
    return rcode === RCODE.noError || rcode === RCODE.nxDomain ? response : `${REFUSED} ${rcode}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function askByUdp(
  options: NameResolverOptions,
  { server, timeoutMs }: Whom,
  question: AddressQuestion,
): Promise<AddressResponse> {
  const socket = connectUdp(options.kernel, addressOf(options, server), options);
  try {
    const refusal = socket.send(encodeQuery(question));
    if (refusal !== 0) throw new Error(errnoName(refusal));
    return await awaitAnswer(socket, question, timeoutMs);
  } finally {
    socket.close();
  }
}

/** A link-local server is one of a link, which is looked up each time: its number changes with the device. */
function addressOf(
  { kernel, port = DNS_PORT }: NameResolverOptions,
  { address, zone }: NameServer,
): SocketAddress {
  if (zone === undefined) return { address, port };
  const scope = /^\d+$/.test(zone) ? Number(zone) : interfaceIndex(kernel, zone);
  if (scope === undefined) throw new Error(`no interface ${zone}`);
  return { address, port, scope };
}

/** It looks now and then: a runtime cannot wait for a descriptor that it does not know. */
async function awaitAnswer(
  socket: ConnectedUdp,
  question: AddressQuestion,
  timeoutMs: number,
): Promise<AddressResponse> {
  const startedAt = performance.now();
  for (let pauseMs = 1; performance.now() - startedAt < timeoutMs; ) {
    const datagram = socket.receive();
    if (typeof datagram === "number") throw new Error(errnoName(datagram));
    if (datagram !== undefined) {
      const response = parseResponse(datagram, question);
      if (response.ok) return response.value;
      continue;
    }
    await wait(pauseMs, undefined, { ref: false });
    pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX);
  }
  throw new Error("no answer");
}

/** The same question with its length in front (RFC 1035 §4.2.2). */
async function askByTcp(
  options: NameResolverOptions,
  { server, timeoutMs }: Whom,
  question: AddressQuestion,
): Promise<AddressResponse> {
  const { kernel, mark, device } = options;
  const to = addressOf(options, server);
  const socket = await openMarkedSocket(kernel, { to, timeoutMs, mark, device });
  const timer = setTimeout(() => socket.destroy(new Error("no answer")), timeoutMs);
  try {
    const query = encodeQuery(question);
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 0xff]), query]));
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) continue;
      const response = parseResponse(received.subarray(2, 2 + received.readUInt16BE(0)), question);
      if (response.ok) return response.value;
      throw new Error(response.reason);
    }
    throw new Error("the server closed the connection");
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** For names that only the system's other sources know, such as mDNS. */
async function askSystem(name: string): Promise<readonly IpAddress[]> {
  try {
    const found = await lookup(name, { all: true, verbatim: true });
    return found.flatMap(({ address }) => {
      const parsed = parseIp(address);
      return parsed.ok ? [parsed.value] : [];
    });
  } catch (cause) {
    throw unresolved(name, "no such name", cause);
  }
}

function unresolved(name: string, reason: string, cause?: unknown): PosternError {
  return new PosternError("connect-failed", `cannot resolve ${name}: ${reason}`, "check the name and DNS", {
    cause,
  });
}
