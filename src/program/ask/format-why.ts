/** What `postern why` prints (PG-190). Pure. */
import type { ConnectionView, NatView, PairView, PeerStatus, WhyView } from "../control/index.ts";
import { formatSeconds, printable, wrap } from "./table.ts";

/** Which resources there are, and which connection serves them. */
interface Serving {
  readonly resources: PeerStatus["resources"];
  readonly connections: readonly Pick<ConnectionView, "gid" | "cid" | "resources">[];
}

/** Those that the word names: a peer by the beginning of its id, or the peers of a resource by name or id. */
export function selectViews(
  views: readonly WhyView[],
  { resources, connections }: Serving,
  word: string | undefined,
): readonly WhyView[] {
  if (word === undefined) return views;
  const rids = resources
    .filter(({ rid, name }) => rid === word || name.toLowerCase() === word.toLowerCase())
    .map(({ rid }) => rid);
  const serving = connections.filter((one) => one.resources?.some((rid) => rids.includes(rid)));
  return views.filter((view) => {
    const id = idOf(view);
    return id.startsWith(word) || serving.some((one) => idOf(one) === id);
  });
}

function idOf({ gid, cid }: { readonly gid?: string; readonly cid?: string }): string {
  return gid ?? cid ?? "";
}

/** What is said where the word names nothing that has a connection. */
export function explainAbsence(
  { portal, resources, role }: Pick<PeerStatus, "portal" | "resources" | "role">,
  word: string | undefined,
): readonly string[] {
  if (portal.state !== "connected") {
    const error = portal.last_error === null ? "" : ` (${printable(portal.last_error)})`;
    return wrap(
      `There is no connection, and the portal is not reachable${error}: nobody can introduce the ends.`,
    );
  }
  const named = resources.find(({ rid, name }) => rid === word || name.toLowerCase() === word?.toLowerCase());
  if (named?.status === "offline") {
    return wrap(`${printable(named.name)} has no connection: no gateway of its site is online. Start one.`);
  }
  if (named !== undefined) {
    return wrap(
      `${printable(named.name)} has no connection: nothing has been sent there, or the portal refused it. Send something, such as a ping; the log says when access is refused.`,
    );
  }
  if (word !== undefined) return wrap(`No peer and no resource is called ${printable(word)}.`);
  return role === "client"
    ? wrap("There is no connection: nothing has been sent to a resource yet. Send something, such as a ping.")
    : wrap("There is no connection: no client has asked for one.");
}

export function formatWhy(view: WhyView): readonly string[] {
  const { state, path, relay, pairs, sentence, remedy, own_families, peer_families } = view;
  const way = path === "none" ? "no path" : `${path} path`;
  return [
    `${idOf(view)}: ${state}, ${way}`,
    ...(relay === null ? [] : [describeRelay(relay)]),
    `  UDP ${view.udp_passed ? "has passed between the ends" : "of the other end has never arrived"}`,
    ...describeNat("this end's router", view.own_nat),
    ...describeNat("the other end's router", view.peer_nat),
    ...([4, 6] as const).flatMap((family) => missingFamily(family, own_families, peer_families)),
    ...pairs.flatMap((pair) => [`  ${pair.local} to ${pair.remote}`, `      ${describePair(pair)}`]),
    ...wrap(sentence),
    ...(remedy === null ? [] : wrap(`What to do: ${remedy}.`)),
  ];
}

function describeRelay({ id, transport, state, rtt_ms }: NonNullable<WhyView["relay"]>): string {
  const by = transport === "udp" ? "" : ` by ${transport.toUpperCase()}`;
  return `  relay ${id}${by} ${state}${rtt_ms === null ? "" : `, ${Math.round(rtt_ms)} ms`}`;
}

/** Nothing where nothing is known. */
function describeNat(whose: string, { mapping, port_kept }: NatView): readonly string[] {
  const port = port_kept === null ? "" : port_kept ? ", the host's own" : ", not the host's own";
  if (mapping === "none") return [`  NAT: none before ${whose.replace("'s router", "")}`];
  if (mapping === "differs") return [`  NAT: ${whose} gives every destination another port`];
  if (mapping === "same") return [`  NAT: ${whose} gives all destinations one port${port}`];
  return port_kept === null ? [] : [`  NAT: ${whose} gives a port${port}`];
}

function missingFamily(family: 4 | 6, own: readonly (4 | 6)[], peer: readonly (4 | 6)[]): readonly string[] {
  const [hasOwn, hasPeer] = [own.includes(family), peer.includes(family)];
  if (hasOwn && hasPeer) return [];
  const lack = hasOwn ? "the other end has no" : hasPeer ? "this end has no" : "neither end has an";
  return [`  IPv${family}: ${lack} address of that family`];
}

/** The last check of a pair, in words. */
export function describePair(pair: PairView): string {
  const { state, checks, last_check_s, last_answer_s, rtt_ms, error, heard_s } = pair;
  const rtt = rtt_ms === null ? "" : `, ${Math.round(rtt_ms)} ms`;
  const ago = (seconds: number | null): string => (seconds === null ? "" : ` ${formatSeconds(seconds)} ago`);
  if (state === "selected") return `in use${rtt}; last answer${ago(last_answer_s)}`;
  if (last_answer_s !== null) return `answered${ago(last_answer_s)}${rtt}`;
  if (error !== null) return `answered by error ${error}; last check${ago(last_check_s)}`;
  if (checks === 0) return "not checked yet";
  const given = state === "given-up" ? "given up" : "being checked";
  const heard = heard_s === null ? "the other side never spoke" : `the other side spoke${ago(heard_s)}`;
  return `${given}: never answered in ${checks} checks, the last${ago(last_check_s)}; ${heard}`;
}
