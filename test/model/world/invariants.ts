/** What must hold after every step, whatever it was (TN-102, TS-16). */

import type { Peer } from "../../sim/peer.ts";
import { type Case, describeArrivals, takeArrivals, violation } from "./case.ts";
import { wrongDns } from "./dns.ts";
import { resourcesOf } from "./reference.ts";

/** What a peer may warn of, each only after a step of this name. */
const WARNINGS: readonly { readonly line: string; readonly after: RegExp }[] = [
  // A relay that has been started anew has another secret.
  { line: "warn answer without right integrity", after: /^a relay (reboots|goes)/ },
  // Or it was on its way while access was being taken back (TN-63 no. 1): a step waits for the answer to a question,
  // not for the gateway to hear of the name.
  { line: "warn name of a client refused", after: /^(claim an address|forbid|remove a resource)/ },
  // Whoever was away for long does not know that its connection has been given up (SN-103).
  { line: "warn packets for no connection", after: /^join what was cut/ },
];

export function checkInvariants(c: Case): void {
  const stray = takeArrivals(c);
  if (stray.length > 0) violation(`nobody sent this: ${describeArrivals(stray)}`);
  for (const { name } of c.setup.clients) checkClient(c, name);
  for (const { gateways } of c.setup.sites) for (const { name } of gateways) checkGateway(c, name);
}

function checkClient(c: Case, name: string): void {
  const client = c.play.client(name);
  checkComplaints(c, client);
  const { sights } = c.application(name);
  const expected = resourcesOf(c.reference, name)
    .map(({ name: resource }) => resource)
    .sort();
  const listed = client.tunnel
    .resources()
    .map(({ resource }) => resource.name)
    .sort();
  if (!c.reference.cuts.has(name) && expected.join() !== listed.join()) {
    violation(`${name} knows ${listed.join(" ")}, but is allowed ${expected.join(" ")}`);
  }
  const wrong = c.reference.cuts.has(name) ? "" : wrongDns(c, name);
  if (wrong !== "") violation(`${name}'s host ${wrong}`);
  const odd = sights.filter(({ kind }) => kind === "other");
  if (odd.length > 0) violation(`${name} was brought ${JSON.stringify(odd[0])}`);
  sights.length = 0;
}

/** No gateway holds open what nobody allows any more (TN-102 no. 7). */
function checkGateway(c: Case, name: string): void {
  const { play, reference } = c;
  const gateway = play.gateway(name);
  checkComplaints(c, gateway);
  if (reference.cuts.has(name)) return;
  const { now } = play.world;
  for (const { id, externalId } of play.portal.server.status(now()).clients) {
    const allowed = resourcesOf(reference, externalId);
    for (const { resource } of gateway.tunnel.grantsOf(id, now())) {
      const granted = allowed.find((one) => one.id === resource.rid);
      if (granted === undefined) violation(`${name} still grants ${resource.rid} to ${externalId}`);
      if (resource.kind !== "internet" && resource.filters.length !== granted.filters.length) {
        violation(`${name} has other filters of ${resource.name} than the portal`);
      }
    }
  }
}

function checkComplaints({ lines }: Case, { name, complaints, plane }: Peer): void {
  for (const { line, fields } of complaints.splice(0)) {
    const isKnown = WARNINGS.some(
      (known) => known.line === line && lines.some((step) => known.after.test(step)),
    );
    if (!isKnown) violation(`${name} logged: ${line} ${JSON.stringify(fields)}`);
  }
  const { egress, ingress } = plane.tallies();
  for (const [worker, { counters, drops }] of Object.entries({ egress, ingress })) {
    const dropped = Object.values(drops).reduce((sum, packets) => sum + packets, 0);
    const out = counters.packets_passed + counters.packets_punted + dropped;
    if (out !== counters.packets_in)
      violation(`${name}, ${worker}: ${counters.packets_in} packets in, ${out} out`);
  }
}

/** Without a farewell a gateway finds out by the fourth check that nobody answers (SN-50). */
const FORGOTTEN_MS = 130_000;
const FAREWELL_MS = 5_000;
/** Steps in which somebody goes from an address without a word. */
const LEAVING = /roam|moves|restart|cut|relay/;
const ALLOCATED_MS = 3_000;

/** The clients end; nothing of them is left at gateways and relays (TN-43, TS-16). */
export function checkEnd(c: Case): void {
  const { play, setup } = c;
  const clients = play.portal.server.status(play.world.now()).clients;
  const isReached = c.reference.cuts.size === 0 && c.shaken.size === 0;
  // Who vanishes from an address leaves there what it had, at relays and at gateways that it does not use again.
  const isTold = isReached && !c.lines.some((line) => LEAVING.test(line));
  // What is just being allocated stays when nobody waits for it.
  play.world.run(ALLOCATED_MS);
  for (const { name } of setup.clients) play.stop(name, "shutdown");
  play.world.run(isTold ? FAREWELL_MS : FORGOTTEN_MS);
  const gateways = setup.sites.flatMap((site) => site.gateways);
  for (const { name } of gateways) {
    const { connections, tunnel } = play.gateway(name);
    const left = connections.stats().connections.length;
    if (left > 0) violation(`${name} has ${left} connections when all clients are gone`);
    const grants = clients.flatMap(({ id }) => tunnel.grantsOf(id, play.world.now()));
    // Whoever vanished without a word keeps its access (TN-50).
    if (isTold && grants.length > 0) violation(`${name} grants ${grants.length} resources to nobody`);
  }
  for (const { name } of setup.relays) {
    const { allocations } = play.relay(name).relay.server.stats();
    // From another address nobody can free what the earlier one had.
    const orphans = c.lines.filter((line) => LEAVING.test(line)).length;
    if (isReached && orphans === 0 && allocations > gateways.length)
      violation(`${name} has ${allocations} allocations left`);
  }
}
