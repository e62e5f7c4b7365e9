/** What `postern why` concludes, NAT by NAT: the whole text that people read (PG-190 to PG-193). */
import { describe, expect, it } from "vitest";
import type { Cause } from "../../src/connections/index.ts";
import { type Play, type Story, story } from "./story.ts";

const FORWARD = "for a direct path forward UDP 52625 to either end";
const OPEN = "for a direct path allow UDP out at both ends, or open UDP 52625 towards the gateway";
const DROPPED = "a firewall drops UDP out of this host or into the other; allow it there";
/** Until everything that is tried has been given up. */
const SEARCH_MS = 22_000;

interface Conclusion {
  readonly cause: Cause;
  /** Behind the name of the relay and its round trip, where there is one. */
  readonly text: string;
  readonly remedy?: string;
}

interface Scenario {
  readonly name: string;
  readonly build: (story: Story) => Story;
  readonly client: Conclusion;
  readonly gateway: Conclusion;
}

const DIRECT: Conclusion = { cause: "direct", text: "The path is direct." };
const NOT_HEARD: Conclusion = {
  cause: "relayed-not-heard",
  text: "none of 2 direct pairs of addresses was answered.",
  remedy: OPEN,
};

const SCENARIOS: readonly Scenario[] = [
  {
    name: "two port-restricted cones",
    build: (at) =>
      at
        .network("home", { nat: "port-restricted" })
        .client()
        .network("office", { nat: "port-restricted" })
        .gateway(),
    client: DIRECT,
    gateway: DIRECT,
  },
  {
    name: "two symmetric NATs",
    build: (at) =>
      at.network("home", { nat: "symmetric" }).client().network("office", { nat: "symmetric" }).gateway(),
    client: {
      cause: "relayed-both-remap",
      text: "the routers of both ends give every destination another port, so neither end knows where to send.",
      remedy: FORWARD,
    },
    gateway: {
      cause: "relayed-both-remap",
      text: "the routers of both ends give every destination another port, so neither end knows where to send.",
      remedy: FORWARD,
    },
  },
  {
    name: "two symmetric NATs, the port forwarded to one",
    build: (at) =>
      at
        .network("home", { nat: "symmetric" })
        .client()
        .network("office", { nat: "symmetric" })
        .gateway("gateway", { isForwarded: true }),
    client: DIRECT,
    gateway: DIRECT,
  },
  {
    name: "a symmetric NAT against a port-restricted cone",
    build: (at) =>
      at
        .network("home", { nat: "symmetric" })
        .client()
        .network("office", { nat: "port-restricted" })
        .gateway(),
    client: {
      cause: "relayed-own-remaps",
      text: "the router of this end gives every destination another port, and the other end lets in only what it knows.",
      remedy: FORWARD,
    },
    gateway: {
      cause: "relayed-peer-remaps",
      text: "the router of the other end gives every destination another port, and this end lets in only what it knows.",
      remedy: FORWARD,
    },
  },
  {
    name: "two homes behind one carrier-grade NAT that does not hairpin",
    build: (at) =>
      at
        .network("isp", { nat: "port-restricted" })
        .network("home", { in: "isp", nat: "port-restricted" })
        .client()
        .network("office", { in: "isp", nat: "port-restricted" })
        .gateway(),
    client: NOT_HEARD,
    // The client's home got another port of the ISP than its own, so that one is a guess (SN-37).
    gateway: { ...NOT_HEARD, text: "none of 3 direct pairs of addresses was answered." },
  },
  {
    name: "a router that lets nothing but TURN out",
    build: (at) =>
      at
        .network("home", { nat: "port-restricted", blocks: { allButPorts: [3478] } })
        .client()
        .network("office", { nat: "port-restricted" })
        .gateway(),
    client: NOT_HEARD,
    gateway: NOT_HEARD,
  },
  {
    name: "one way: a full cone that lets nothing but TURN out",
    build: (at) =>
      at
        .network("home", { nat: "full-cone", blocks: { allButPorts: [3478] } })
        .client()
        .network("office", { nat: "port-restricted" })
        .gateway(),
    client: {
      cause: "relayed-one-way",
      text: "checks of the other end arrive directly, but it answers none of ours.",
      remedy: DROPPED,
    },
    gateway: NOT_HEARD,
  },
  {
    name: "no UDP out at all",
    build: (at) =>
      at
        .network("home", { nat: "port-restricted", blocks: "udp" })
        .client()
        .network("office", { nat: "port-restricted" })
        .gateway(),
    client: {
      cause: "not-heard",
      text: "UDP does not pass: none of 2 direct pairs of addresses was answered, and nothing of the other end arrived.",
      remedy: "allow UDP out at both ends, or open UDP 52625 towards the gateway",
    },
    gateway: {
      cause: "not-heard",
      text: "UDP does not pass: none of 1 direct pairs of addresses was answered, and nothing of the other end arrived.",
      remedy: "allow UDP out at both ends, or open UDP 52625 towards the gateway",
    },
  },
  {
    name: "one end of each family, with relays that have both",
    build: (at) =>
      at.internet().client("client", { families: "ipv6" }).gateway("gateway", { families: "ipv4" }),
    client: {
      cause: "relayed-no-pair",
      text: "no direct pair of addresses fits (own IPv6, other IPv4).",
      remedy: "give one end the other family too",
    },
    gateway: {
      cause: "relayed-no-pair",
      text: "no direct pair of addresses fits (own IPv4, other IPv6).",
      remedy: "give one end the other family too",
    },
  },
];

/** The sentence without the relay's name. */
function concluded(play: Play, end: "client" | "gateway") {
  const why = play.why(end === "client" ? play.client() : play.gateway());
  const text = why?.sentence.replace(/^Data goes through the relay \S+( \(\d+ ms\))?: /, "");
  return { cause: why?.cause, text, ...(why?.remedy !== undefined && { remedy: why.remedy }) };
}

describe("why a path is as it is", () => {
  it.each(SCENARIOS)("PG-191, PG-193: $name", ({ build, client, gateway }) => {
    const play = build(story(1)).internet().relay("north").relay("south").begin();
    play.client().longestGap(SEARCH_MS);
    expect(concluded(play, "client")).toEqual(client);
    expect(concluded(play, "gateway")).toEqual(gateway);
  });

  it("PG-191: without a relay ends of different families are told so", () => {
    const play = story(1)
      .client("client", { families: "ipv6" })
      .gateway("gateway", { families: "ipv4" })
      .begin();
    play.client().longestGap(SEARCH_MS);
    expect(concluded(play, "client")).toEqual({
      cause: "no-common-family",
      text: "No pair of addresses fits: this end has IPv6, the other IPv4.",
      remedy: "give one end the other family too, or let the portal list a relay that has both",
    });
  });

  it("PG-191: a gateway that is gone is told from a path that never was", () => {
    const play = story(1).client().gateway().begin();
    play.client().longestGap(2_000);
    play.gateway().host.program = undefined;
    play.client().longestGap(SEARCH_MS);
    expect(concluded(play, "client")).toEqual({
      cause: "path-died",
      text: "The path worked and then nobody answered any more: the other end, or the way to it, is gone.",
      remedy: "see whether the other end runs; a new connection is made as soon as something is sent",
    });
  });

  it("PG-193: two relays show whether a NAT keeps one port for all, and one relay does not", () => {
    const built = (relays: 1 | 2, nat: "symmetric" | "port-not-kept" | "port-restricted") => {
      const at = story(1).network("home", { nat }).client().internet().gateway().relay("north");
      const play = (relays === 2 ? at.relay("south") : at).begin();
      play.client().longestGap(3_000);
      return { own: play.why(play.client())?.ownNat, peer: play.why(play.gateway())?.peerNat };
    };
    expect(built(2, "symmetric")).toEqual({
      own: { mapping: "differs", isPortKept: false },
      peer: { mapping: "differs", isPortKept: false },
    });
    expect(built(2, "port-not-kept").own).toEqual({ mapping: "same", isPortKept: false });
    expect(built(2, "port-restricted").own).toEqual({ mapping: "same", isPortKept: true });
    expect(built(1, "symmetric").own).toEqual({ mapping: "unknown", isPortKept: false });
    const open = story(1).client().gateway().relay().begin();
    open.client().longestGap(1_000);
    expect(open.why(open.client())?.ownNat).toEqual({ mapping: "none" });
  });
});
