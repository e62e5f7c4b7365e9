/** What must hold after every step, whatever it was (TN-102, TS-16). */
import { type Case, describeArrivals, violation } from "./case.ts";
import { type Reference, resourcesOf } from "./reference.ts";

/** What a peer may warn of here, and nothing else. */
const WARNINGS: readonly RegExp[] = [
  // A relay that has been started anew has another secret.
  /^warn answer without right integrity$/,
];

export function checkInvariants(c: Case): void {
  const stray = c.servers.arrivals.slice(c.judged);
  c.judged = c.servers.arrivals.length;
  if (stray.length > 0) violation(`nobody sent this: ${describeArrivals(stray)}`);
  for (const { name } of c.setup.clients) checkClient(c, name);
  for (const { gateways } of c.setup.sites) for (const { name } of gateways) checkGateway(c, name);
}

function checkClient(c: Case, name: string): void {
  const client = c.play.client(name);
  checkComplaints(name, client.complaints);
  const { sights } = c.application(name);
  const expected = resourcesOf(c.reference, name)
    .map(({ name: resource }) => resource)
    .sort();
  const listed = client.tunnel
    .resources()
    .map(({ resource }) => resource.name)
    .sort();
  if (!isCut(c.reference, name) && expected.join() !== listed.join()) {
    violation(`${name} knows ${listed.join(" ")}, but is allowed ${expected.join(" ")}`);
  }
  const odd = sights.filter(({ kind }) => kind === "other");
  if (odd.length > 0) violation(`${name} was brought ${JSON.stringify(odd[0])}`);
  sights.length = 0;
}

/** No gateway holds open what nobody allows any more (TN-102 no. 7). */
function checkGateway(c: Case, name: string): void {
  const { play, reference } = c;
  const gateway = play.gateway(name);
  checkComplaints(name, gateway.complaints);
  if (isCut(reference, name)) return;
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

export function isCut({ cuts }: Reference, name: string): boolean {
  return cuts.has(`${name} portal`) || cuts.has(`${name} all`);
}

function checkComplaints(name: string, complaints: { readonly line: string }[]): void {
  for (const complaint of complaints.splice(0)) {
    if (WARNINGS.some((known) => known.test(complaint.line))) continue;
    violation(`${name} logged: ${complaint.line} ${JSON.stringify(complaint)}`);
  }
}
