/** `portal check` and `portal access`: what a file means, without a portal that runs (PT-110, PT-195, PT-196). */
import { nearest, unixMs } from "../../base/index.ts";
import type { DevDefaults } from "../../portal/config/index.ts";
import type { Service } from "../../portal/protocol/index.ts";
import { explainAccess, type PortalModel } from "../../portal/server/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import { type ConfigSource, loadModel } from "./config-source.ts";
import { usage } from "./portal-options.ts";

const PROTOCOLS = ["tcp", "udp", "icmp"] as const;

/** What a file is taken with; `dev`: as `--dev` takes it (PT-111). */
export interface Question {
  readonly words: readonly string[];
  readonly dev: DevDefaults | undefined;
}

export function check({ words, dev }: Question, io: ProgramIo): number {
  const [path, ...more] = words;
  if (path === undefined || more.length > 0) throw usage("portal check takes one FILE");
  const model = load({ path, dev }, io);
  if (model === undefined) return EXIT.usage;
  const counts = [
    countOf(model.sites, "site"),
    countOf(model.resources, "resource"),
    countOf(model.policies, "policy", "policies"),
    countOf(model.actors, "actor"),
  ];
  io.print(`${path}: ok: ${counts.join(", ")}`);
  return EXIT.ok;
}

/** Whether a client may reach something, and by which policy; the exit code says it, too. */
export function explain({ words, dev }: Question, io: ProgramIo, wallNow: number): number {
  const [path, client, target, ...more] = words;
  if (path === undefined || client === undefined || target === undefined || more.length > 0) {
    throw usage("it is: portal access FILE CLIENT RESOURCE[:PORT][/PROTOCOL]");
  }
  const model = load({ path, dev }, io);
  if (model === undefined) return EXIT.usage;
  const actor = [...model.actors.values()].find(({ name, email }) => name === client || email === client);
  if (actor === undefined) {
    throw unknown(
      "actor",
      client,
      [...model.actors.values()].map(({ name }) => name),
    );
  }
  const { name, service } = readTarget(model, target);
  const resource = resourceNamed(model, name);
  if (resource === undefined) {
    throw unknown(
      "resource",
      name,
      [...model.resources.values()].map((one) => one.name),
    );
  }
  const question = { actor, resource, wallNow: unixMs(wallNow), ...(service && { service }) };
  const { isAllowed, lines } = explainAccess(model, question);
  for (const line of lines) io.print(line);
  return isAllowed ? EXIT.ok : EXIT.refused;
}

function load(of: Omit<ConfigSource, "env">, io: ProgramIo): PortalModel | undefined {
  const loaded = loadModel({ ...of, env: io.env });
  if (!loaded.ok) {
    for (const line of loaded.lines) io.printError(line);
    return undefined;
  }
  for (const warning of loaded.warnings) io.printError(`${of.path}: ${warning}`);
  return loaded.model;
}

/** A name may itself hold colons and slashes: the whole text goes first. */
function readTarget(model: PortalModel, text: string): { readonly name: string; readonly service?: Service } {
  if (resourceNamed(model, text) !== undefined) return { name: text };
  const match = /^(.+?)(?::(\d{1,5}))?(?:\/([a-z]+))?$/.exec(text);
  const [, name = text, portText, protocolText] = match ?? [];
  if (portText === undefined && protocolText === undefined) return { name };
  const protocol = PROTOCOLS.find((one) => one === (protocolText ?? "tcp"));
  if (protocol === undefined) throw usage(`'${protocolText}' is none of ${PROTOCOLS.join(", ")}`);
  if (protocol === "icmp") {
    if (portText !== undefined) throw usage("icmp has no ports");
    return { name, service: { protocol } };
  }
  const port = Number(portText);
  if (portText === undefined || port > 65535) throw usage(`${protocol} needs a port from 0 to 65535`);
  return { name, service: { protocol, port } };
}

function resourceNamed(model: PortalModel, text: string) {
  return [...model.resources.values()].find(({ name }) => name === text);
}

function unknown(kind: string, text: string, names: readonly string[]) {
  const guess = nearest(text, names);
  return usage(
    `no ${kind} '${text}' in the file`,
    guess === undefined ? undefined : `did you mean '${guess}'?`,
  );
}

function countOf(things: ReadonlyMap<string, unknown>, one: string, many = `${one}s`): string {
  return `${things.size} ${things.size === 1 ? one : many}`;
}
