/**
 * What becomes of a connection when the network changes under its traffic: paths that open and close, NATs that
 * forget, ends that move, relays that go, partitions (TS-14, TS-17). A packet goes every 50 ms and is echoed.
 */
import { describe, expect, it } from "vitest";
import { stopPortal } from "./portal.ts";
import { type Play, type Story, story } from "./story.ts";

const SEEDS = [1, 2];
/** A packet, its echo, and the pause before the next one. */
const NO_GAP_MS = 100;
/** Another pair takes over (SN-95), within the pause between two packets. */
const DEAD_PATH_MS = 18_600;

/** Both ends behind NATs of a kind, one more such network to go to, two relays. */
function between(seed: number, nat: "symmetric" | "port-restricted"): Story {
  return story(seed)
    .network("cafe", { nat })
    .network("home", { nat })
    .client()
    .network("office", { nat })
    .gateway()
    .internet()
    .relay("north")
    .relay("south");
}

function begin(at: Story, path: "direct" | "relayed"): Play {
  const play = at.begin();
  play.client().longestGap(4_000);
  expect(play.path()).toBe(path);
  return play;
}

function cut(play: Play, isDown: boolean): void {
  const { host } = play.client();
  host.link = { ...host.link, isDown };
}

describe("a direct path", () => {
  it.each(SEEDS)("SN-146: is found within a minute of its opening, and nothing is lost (seed %i)", (seed) => {
    const play = begin(between(seed, "symmetric"), "relayed");
    play.forward(play.gateway());
    const client = play.client();
    const first = client.ping();
    expect(client.longestGap(60_000)).toBeLessThanOrEqual(NO_GAP_MS);
    expect(play.path()).toBe("direct");
    play.world.run(1_000);
    const lost = Array.from({ length: client.ping() - first }, (_, i) => first + i).filter(
      (number) => !client.echoes.has(number),
    );
    expect(lost).toEqual([]);
  });

  it.each(SEEDS)("SN-146: and when a firewall opens (seed %i)", (seed) => {
    const blocked = story(seed)
      .network("home", { nat: "port-restricted", blocks: { allButPorts: [3478] } })
      .client()
      .network("office", { nat: "port-restricted" })
      .gateway()
      .internet()
      .relay();
    const play = begin(blocked, "relayed");
    play.router("home").blocks = "nothing";
    expect(play.client().longestGap(60_000)).toBeLessThanOrEqual(NO_GAP_MS);
    expect(play.path()).toBe("direct");
  });

  it.each(SEEDS)("SN-95: that closes is replaced by a relayed one within 18 s (seed %i)", (seed) => {
    const play = begin(between(seed, "port-restricted"), "direct");
    play.router("home").blocks = { allButPorts: [3478] };
    expect(play.client().longestGap(25_000)).toBeLessThanOrEqual(DEAD_PATH_MS);
    expect(play.path()).toBe("relayed");
    expect(play.client().longestGap(2_000)).toBeLessThanOrEqual(NO_GAP_MS);
  });
});

describe("a NAT that is started anew", () => {
  it.each(SEEDS)(
    "SN-141, SN-145: costs a direct path less than a second, on either side (seed %i)",
    (seed) => {
      for (const network of ["home", "office"]) {
        const play = begin(between(seed, "port-restricted"), "direct");
        play.router(network).nat?.reboot();
        expect(play.client().longestGap(10_000)).toBeLessThanOrEqual(1_000);
        expect(play.path()).toBe("direct");
      }
    },
  );

  it.each(SEEDS)("SN-147, RL-121: costs a relayed path less than 5 s, on either side (seed %i)", (seed) => {
    for (const network of ["home", "office"]) {
      const play = begin(between(seed, "symmetric"), "relayed");
      play.router(network).nat?.reboot();
      expect(play.client().longestGap(30_000)).toBeLessThanOrEqual(5_000);
      expect(play.client().longestGap(2_000)).toBeLessThanOrEqual(NO_GAP_MS);
    }
  });
});

describe("roaming", () => {
  it.each(SEEDS)("TS-17: a client carries again within 2 s of its new address (seed %i)", (seed) => {
    for (const [nat, path] of [
      ["port-restricted", "direct"],
      ["symmetric", "relayed"],
    ] as const) {
      const play = begin(between(seed, nat), path);
      play.roam(play.client(), "cafe");
      expect(play.client().longestGap(10_000)).toBeLessThanOrEqual(2_000);
      expect(play.path()).toBe(path);
    }
  });

  it.each(SEEDS)(
    "TN-106, SN-142: a gateway that moved is missed, and reached again within 5 s (seed %i)",
    (seed) => {
      const play = begin(between(seed, "port-restricted"), "direct");
      play.roam(play.gateway(), "cafe");
      expect(play.client().longestGap(15_000)).toBeLessThanOrEqual(5_000);
      expect(play.path()).toBe("direct");
    },
  );
});

describe("a relay in use", () => {
  /** The one whose address the client offers. */
  const relays = ["north", "south"] as const;

  it.each(SEEDS)("SN-112, PT-89: that is killed is replaced within 5 s (seed %i)", (seed) => {
    for (const name of relays) {
      const play = begin(between(seed, "symmetric"), "relayed");
      play.relay(name).kill();
      expect(play.client().longestGap(15_000)).toBeLessThanOrEqual(5_000);
      expect(play.path()).toBe("relayed");
    }
  });

  it.each(SEEDS)("RL-73: that drains is left within the time of a few round trips (seed %i)", (seed) => {
    for (const name of relays) {
      const play = begin(between(seed, "symmetric"), "relayed");
      play.relay(name).drain();
      expect(play.client().longestGap(15_000)).toBeLessThanOrEqual(1_000);
      play.relay(name).kill();
      expect(play.client().longestGap(5_000)).toBeLessThanOrEqual(NO_GAP_MS);
    }
  });

  it.each(SEEDS)("RL-70: both of them started anew cost 5 s (seed %i)", (seed) => {
    const play = begin(between(seed, "symmetric"), "relayed");
    for (const name of relays) play.relay(name).kill();
    for (const name of relays) play.relay(name).start();
    expect(play.client().longestGap(15_000)).toBeLessThanOrEqual(5_000);
  });
});

describe("partitions", () => {
  it.each(SEEDS)("SN-54: 10 s without a link cost 10 s (seed %i)", (seed) => {
    const play = begin(between(seed, "port-restricted"), "direct");
    cut(play, true);
    play.world.at(10_000, () => cut(play, false));
    expect(play.client().longestGap(20_000)).toBeLessThanOrEqual(12_000);
  });

  it.each(SEEDS)("RL-121: 16 s without a link do not cost the relay (seed %i)", (seed) => {
    const play = begin(between(seed, "symmetric"), "relayed");
    const relays = play
      .client()
      .connections.stats()
      .relays.map(({ id }) => id);
    cut(play, true);
    play.world.at(16_000, () => cut(play, false));
    expect(play.client().longestGap(25_000)).toBeLessThanOrEqual(16_200);
    expect(
      play
        .client()
        .connections.stats()
        .relays.map(({ id }) => id),
    ).toEqual(relays);
  });

  it.each(SEEDS)(
    "SN-95: a minute without a link: a new connection within 15 s of its end (seed %i)",
    (seed) => {
      const play = begin(between(seed, "port-restricted"), "direct");
      cut(play, true);
      play.client().longestGap(60_000);
      cut(play, false);
      // As long as the portal's back-off, and a connection to it.
      expect(play.client().reach(15_000)).toBeDefined();
    },
  );

  it.each(SEEDS)(
    "PT-20: five minutes without the portal change nothing between the ends (seed %i)",
    (seed) => {
      for (const nat of ["port-restricted", "symmetric"] as const) {
        const play = begin(between(seed, nat), nat === "symmetric" ? "relayed" : "direct");
        stopPortal(play.portal);
        expect(play.client().longestGap(10_000)).toBeLessThanOrEqual(NO_GAP_MS);
        play.world.run(280_000);
        expect(play.client().longestGap(10_000)).toBeLessThanOrEqual(NO_GAP_MS);
        play.portal.isUp = true;
        expect(play.client().longestGap(20_000)).toBeLessThanOrEqual(NO_GAP_MS);
        expect(play.client().line.events.at(-1)).toBe("connected");
      }
    },
  );
});
