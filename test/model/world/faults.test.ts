/** The model test fails where the product is wrong: some faults, each planted where a fault of the product would be. */
import { describe, expect, it } from "vitest";
import { DNS_PORT, GATEWAY_DNS_PORT } from "../../../src/dns/index.ts";
import { EVERYDAY_SEEDS } from "./labels.ts";
import { portalFile } from "./portal-file.ts";
import { runSeed } from "./run-case.ts";
import { shrink } from "./shrink.ts";
import type { Fault } from "./stage.ts";

/** In this order: those that come upon much, then others. */
const SEEDS: readonly number[] = [...EVERYDAY_SEEDS, ...Array(40).keys()];
const ICMP = 1;
const TCP = 6;
const UDP = 17;

/** A changed copy. */
function changed(packet: Uint8Array, at: number): Uint8Array {
  const copy = packet.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function isV4(packet: Uint8Array, protocol: number): boolean {
  return (packet[0] ?? 0) >> 4 === 4 && packet[9] === protocol;
}

function portOf(packet: Uint8Array): number {
  const at = (packet[0] ?? 0) >> 4 === 4 ? 22 : 42;
  return ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
}

/** Of IPv4. */
function portFrom(packet: Uint8Array): number {
  return ((packet[20] ?? 0) << 8) | (packet[21] ?? 0);
}

function isOfNameServer(port: number): boolean {
  return port === DNS_PORT || port === GATEWAY_DNS_PORT;
}

/** The portal never takes anything back: what was listed once stays, and so does who may reach it. */
function neverTakesBack(): Fault {
  const access = new Set<string>();
  return {
    file(reference) {
      for (const pair of reference.access) access.add(pair);
      return portalFile({ ...reference, access });
    },
  };
}

const FAULTS: Readonly<Record<string, () => Fault>> = {
  "filters are ignored": () => ({
    file: (reference) => {
      const resources = [...reference.resources].map(
        ([name, one]) => [name, { ...one, filters: [] }] as const,
      );
      return portalFile({ ...reference, resources: new Map(resources) });
    },
  }),
  "what was forbidden stays open": neverTakesBack,
  "a packet comes out of a gateway twice": () => ({ atGateway: (packet) => [packet, packet] }),
  "a packet is lost at a gateway": () => ({ atGateway: (packet) => (isV4(packet, ICMP) ? [] : [packet]) }),
  "a checksum is wrong behind the gateway": () => ({
    atGateway: (packet) => [isV4(packet, UDP) ? changed(packet, 26) : packet],
  }),
  "an answer's payload is changed": () => ({
    atClient: (packet) => [isV4(packet, UDP) && packet.length === 36 ? changed(packet, 35) : packet],
  }),
  "an answer comes twice": () => ({ atClient: (packet) => [packet, packet] }),
  "refusals are silent": () => ({
    atClient: (packet) => (isV4(packet, ICMP) && packet[20] === 3 ? [] : [packet]),
  }),
  "a name leads elsewhere": () => ({
    resolution: (addresses) => addresses.map((address) => changed(address, address.length - 1)),
  }),
  "the portal's name servers are ignored": () => ({
    file: (reference) =>
      portalFile({ ...reference, dns: { servers: [], isDoh: false, searchDomain: undefined } }),
  }),
  "questions for a site get lost": () => ({
    // Of both families: what is lost by one is asked again by the other (DN-66).
    atGateway: (packet) => (portOf(packet) === GATEWAY_DNS_PORT ? [] : [packet]),
  }),
  "a question for one server goes to another": () => ({
    atGateway: (packet) => [
      isV4(packet, UDP) && portOf(packet) === DNS_PORT && packet.length > 40 ? changed(packet, 19) : packet,
    ],
  }),
  "questions over TCP get lost": () => ({
    atGateway: (packet) => (isV4(packet, TCP) && isOfNameServer(portOf(packet)) ? [] : [packet]),
  }),
  "answers over TCP are changed": () => ({
    atClient: (packet) => [
      isV4(packet, TCP) && portFrom(packet) === DNS_PORT && packet.length > 80
        ? changed(packet, packet.length - 1)
        : packet,
    ],
  }),
  "a name is answered twice": () => ({
    atClient: (packet) =>
      isV4(packet, UDP) && portFrom(packet) === DNS_PORT && packet.length > 36 ? [packet, packet] : [packet],
  }),
  "gateways serve another site": () => ({
    siteOf: (site) => ({ "site-1": "site-2", "site-2": "site-1" })[site] ?? site,
  }),
};

describe("faults of the product", () => {
  it.each(Object.keys(FAULTS))("TS-18, TN-102: it is found that %s", { timeout: 120_000 }, (name) => {
    for (const seed of SEEDS) {
      if (runSeed(seed, { fault: FAULTS[name]?.() ?? {} }).failure !== undefined) return;
    }
    expect.unreachable("no case has found it");
  });

  it("TS-19, TN-95: a failed case shrinks to the few steps that it needs", { timeout: 120_000 }, () => {
    const fault = { atGateway: (packet: Uint8Array) => [packet, packet] };
    for (let seed = 0; seed < 40; seed++) {
      const failed = runSeed(seed, { fault });
      if (failed.failure === undefined) continue;
      const { failure, steps } = shrink(failed, { fault });
      expect(failure).toContain("more than once");
      expect(steps.length).toBeLessThanOrEqual(2);
      return;
    }
    expect.unreachable("no case has found it");
  });
});
