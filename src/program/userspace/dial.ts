/** From a name or an address to a connection: resources only, never the open internet (PG-123). */
import {
  contains,
  formatIp,
  type Instant,
  type IpAddress,
  PosternError,
  parseIp,
  type SocketAddress,
} from "../../base/index.ts";
import { TYPE } from "../../dns/index.ts";
import type { ResourceStatus, TunnelClient } from "../../tunnel/index.ts";
import type { DnsService } from "../dns/index.ts";
import type { TcpSocket } from "./face.ts";

/** What is known of resources. */
export interface Rights {
  readonly machine: Pick<TunnelClient, "resources">;
  /** Whose proxy address it is. */
  readonly resourceOfProxy: (address: IpAddress) => string | undefined;
}

export interface DialParts extends Rights {
  readonly dns: Pick<DnsService, "lookup">;
  readonly sockets: { connect(remote: SocketAddress, signal: AbortSignal): Promise<TcpSocket> };
}

export function rightsOf(machine: TunnelClient, input: (give: (now: Instant) => void) => void): Rights {
  return {
    machine,
    resourceOfProxy(address) {
      let rid: string | undefined;
      input((now) =>
        machine.useResolver(now, (resolver) => {
          rid = resolver.assignmentOf(address)?.rid;
        }),
      );
      return rid;
    },
  };
}

/** How much later than the one before an address is tried (RFC 8305 §5). */
const STAGGER_MS = 250;
/** Of an answer that gives no other reason to try the next address. */
const FAMILIES = { 4: TYPE.A, 6: TYPE.AAAA } as const;

/**
 * Addresses of resources that `host` has, IPv6 first.
 *
 * @throws PosternError `not_a_resource`; `unreachable` where it has none of the wanted family
 */
export async function resolveHost(
  parts: DialParts,
  host: string,
  family: 4 | 6 | undefined,
): Promise<readonly IpAddress[]> {
  const literal = parseIp(host.replace(/^\[(.*)\]$/, "$1"));
  if (literal.ok) {
    if (ownerOf(parts, literal.value) === undefined) throw notAResource(host);
    const own = literal.value.length === 4 ? 4 : 6;
    if (family === undefined || family === own) return [literal.value];
    const hint = `leave family away, or name an address for IPv${family}`;
    throw new PosternError(
      "unreachable",
      `${host} is an IPv${own} address, and IPv${family} is wanted`,
      hint,
    );
  }
  const families = family === undefined ? ([6, 4] as const) : [family];
  const reports = await Promise.all(families.map((one) => parts.dns.lookup(host, FAMILIES[one])));
  const found = reports.flatMap(({ addresses }) => addresses);
  const inside = found.filter((address) => ownerOf(parts, address) !== undefined);
  if (inside.length > 0) return inside;
  const isNamed = reports.some(({ decision }) => decision.kind === "local" && decision.rid !== undefined);
  if (!isNamed) throw notAResource(host);
  // Without a wanted family both were asked for.
  const which = family === undefined ? "address" : `address for IPv${family}`;
  throw new PosternError("unreachable", `${host} has no ${which}`);
}

/** The resource that an address belongs to. */
export function ownerOf(
  { machine, resourceOfProxy }: Rights,
  address: IpAddress,
): ResourceStatus | undefined {
  const rid = resourceOfProxy(address);
  const all = machine.resources().filter(({ isEnabled }) => isEnabled);
  if (rid !== undefined) return all.find(({ resource }) => resource.rid === rid);
  const network = all.find(({ resource }) => resource.kind === "cidr" && contains(resource.address, address));
  return network ?? all.find(({ resource }) => resource.kind === "internet");
}

function notAResource(host: string): PosternError {
  return new PosternError(
    "not_a_resource",
    `${host} belongs to no resource of this client`,
    "see client.resources(); a policy of the portal must grant it",
  );
}

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly family?: 4 | 6 | undefined;
}

/** The first address that answers (RFC 8305): one that fails makes way for the next at once. */
export async function dialTarget(
  parts: DialParts,
  { host, port, family }: DialTarget,
  signal: AbortSignal,
): Promise<TcpSocket> {
  const addresses = await resolveHost(parts, host, family);
  signal.throwIfAborted();
  try {
    return await firstOf(addresses, signal, (address, one) => parts.sockets.connect({ address, port }, one));
  } catch (error) {
    throw explain(parts, host, addresses, error);
  }
}

/** Where nobody of the site is there, that is the reason. */
function explain(parts: DialParts, host: string, addresses: readonly IpAddress[], error: unknown): unknown {
  const isSilent =
    error instanceof PosternError && (error.code === "unreachable" || error.code === "timeout");
  const owners = addresses.map((address) => ownerOf(parts, address));
  if (!isSilent || !owners.every((owner) => owner?.status === "offline")) return error;
  return new PosternError("offline", `${host}: no gateway of its site is online`, undefined, {
    cause: error,
  });
}

async function firstOf(
  addresses: readonly IpAddress[],
  signal: AbortSignal,
  attempt: (address: IpAddress, signal: AbortSignal) => Promise<TcpSocket>,
): Promise<TcpSocket> {
  const losers = new AbortController();
  const both = AbortSignal.any([signal, losers.signal]);
  let [failed, wake] = [0, (): void => {}];
  const running: Promise<TcpSocket>[] = [];
  let winner: TcpSocket | undefined;
  try {
    for (const address of addresses) {
      const failuresBefore = failed;
      const one = attempt(address, both);
      running.push(one);
      one.then(
        (socket) => {
          if (winner !== undefined) socket.abort();
          winner ??= socket;
          wake();
        },
        () => {
          failed++;
          wake();
        },
      );
      if (address === addresses.at(-1)) break;
      await pause(STAGGER_MS, (resume) => {
        wake = resume;
      });
      if (winner !== undefined) return winner;
      if (failed === failuresBefore) continue;
    }
    return await Promise.any(running);
  } catch (error) {
    // The last one's reason: families are tried in the order of preference, and it is the one that was left.
    throw error instanceof AggregateError ? error.errors.at(-1) : error;
  } finally {
    losers.abort();
  }
}

function pause(ms: number, early: (resume: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    early(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export function textsOf(addresses: readonly IpAddress[]): string[] {
  return addresses.map(formatIp);
}
