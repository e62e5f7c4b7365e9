/** `postern doctor [ROLE]`: examines this host and the way to portal and relays, and changes nothing (PG-141). */
import { PosternError, parseSocketAddress, type SocketAddress } from "../../base/index.ts";
import { runFolders } from "../../host/index.ts";
import { parsePortalUrl } from "../../portal/protocol/index.ts";
import { findInstances, openControlClient, type PeerStatus } from "../control/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { DoctorOptions } from "../options.ts";
import { VERSION } from "../version.ts";
import { examineHost } from "./examine-host.ts";
import { examinePortal, examineRelays } from "./examine-way.ts";
import { ROLES, type Role } from "./facts.ts";
import { formatFindings } from "./format.ts";
import { judgeHost } from "./judge.ts";
import { judgePortal, judgeRelays } from "./judge-way.ts";

/** @throws PosternError `usage` */
export async function runDoctor(options: DoctorOptions, io: ProgramIo): Promise<number> {
  const role = ROLES.find((one) => one === options.role);
  const given = givenWay(options);
  const { facts, kernel } = examineHost(role, options.tokenPath);
  const known = await knownWay(given, role, io);
  const way = { kernel, isPrivileged: facts.isPrivileged, caFile: options.caFile, io };
  const portal = known.portal && (await examinePortal(known.portal, way));
  const relays = await examineRelays(known.relays);
  const findings = [
    ...judgeHost(facts, role),
    ...(portal === undefined ? [] : judgePortal(portal, Date.now())),
    ...judgeRelays(relays),
  ];
  if (options.json) io.print(JSON.stringify({ version: VERSION, role: role ?? null, findings }));
  else for (const line of formatFindings(findings)) io.print(line);
  return findings.some(({ verdict }) => verdict === "fail") ? EXIT.failure : EXIT.ok;
}

interface Way {
  readonly portal: ReturnType<typeof readUrl> | undefined;
  readonly relays: readonly SocketAddress[];
}

function givenWay({ apiUrl, relay }: DoctorOptions): Way {
  return {
    portal: apiUrl === undefined ? undefined : readUrl(apiUrl),
    relays: relay.map((text) => readAddress("--relay", text)),
  };
}

function readUrl(text: string) {
  const url = parsePortalUrl(text);
  if (url.ok) return url.value;
  throw new PosternError("usage", `--api-url ${text} is no portal address`);
}

function readAddress(option: string, text: string): SocketAddress {
  const address = parseSocketAddress(text);
  if (address.ok) return address.value;
  throw new PosternError("usage", `${option} ${text} is not ADDR:PORT`, "for example 198.51.100.7:3478");
}

/** What was not given is asked of the client or gateway that runs here, if one does. */
async function knownWay(given: Way, role: Role, io: ProgramIo): Promise<Way> {
  if (given.portal !== undefined && given.relays.length > 0) return given;
  const status = await askPeer(role, io);
  if (status === undefined) return given;
  const relays = status.relays.flatMap(({ address }) => {
    const read = parseSocketAddress(address);
    return read.ok ? [read.value] : [];
  });
  return {
    portal: given.portal ?? readUrl(status.portal.url),
    relays: given.relays.length > 0 ? given.relays : relays,
  };
}

async function askPeer(role: Role, io: ProgramIo): Promise<PeerStatus | undefined> {
  const folders = runFolders(io.env);
  const instances = await findInstances(folders);
  const instance = (["client", "gateway"] as const).find(
    (name) => (role === undefined || role === name) && instances.includes(name),
  );
  if (instance === undefined) return undefined;
  try {
    const client = await openControlClient(instance, folders);
    try {
      // Client and gateway answer by this type.
      return (await client.ask("status")) as PeerStatus;
    } finally {
      client.close();
    }
  } catch {
    // It has gone, or is not ready: then there is nothing to learn from it.
    return undefined;
  }
}
