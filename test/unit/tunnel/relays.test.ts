import { describe, expect, it } from "vitest";
import { createSeededRandom, type Instant, instant, ip, unixMs } from "../../../src/base/index.ts";
import {
  type Connections,
  type ConnectionTransmit,
  createConnections,
  type Datagram,
} from "../../../src/connections/index.ts";
import { NO_ACTIVITY } from "../../../src/plane/index.ts";
import type { ClientMessage, RelayEntry } from "../../../src/portal/protocol/index.ts";
import {
  createTunnelClient,
  createTunnelGateway,
  type TunnelClient,
  type TunnelGateway,
} from "../../../src/tunnel/index.ts";
import { encodeTurn, parseTurn } from "../../../src/turn/index.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import { createLoneFlows, START, UNIX_START } from "./lone-tunnel.ts";

const RELAY_ID = "00000000-0000-4000-8000-0000000000f1";
const OTHER_ID = "00000000-0000-4000-8000-0000000000f2";

function relay(id: string, address: string, port = 3478): RelayEntry {
  return {
    id,
    address: { address: ip(address), port },
    username: "4102444800:salt",
    password: "secret",
    expiresAt: unixMs(UNIX_START + 86_400_000),
  };
}

/** A listed relay that cannot be used: nothing is ever sent to it. */
const UNUSABLE = relay(RELAY_ID, "203.0.113.1", 9);
const ADDRESSES = { ipv4: ip("100.64.0.2"), ipv6: ip("fd00:2021:1111::2") };

/** What the relay answers to a Binding request. */
function answerTo(sent: ConnectionTransmit | undefined): Datagram {
  const request = sent && parseTurn(sent.bytes);
  if (sent === undefined || !request?.ok) throw new Error("no request");
  const { method, transactionId } = request.value.frame;
  const into = new Uint8Array(100);
  const fields = { mappedAddress: { address: ip("198.51.100.1"), port: 9 } };
  const length = encodeTurn(into, { method, class: "success", transactionId, fields });
  const local = { address: ip("192.0.2.10"), port: 52_625 };
  return { local, from: sent.destination, bytes: into.slice(0, length) };
}

function loneConnections(role: "client" | "gateway"): Connections {
  return createConnections({
    role,
    crypto: NOBLE_CRYPTO,
    seed: createSeededRandom(1).fill(new Uint8Array(32)),
    now: START,
    unixNow: UNIX_START,
    streams: "tls-and-tcp",
    records: {
      activity: () => NO_ACTIVITY,
      takeCounter: () => 0n,
      noteSent: () => {},
      noteReceived: () => {},
      received: () => undefined,
    },
  });
}

/** Either end, with its connections. */
function createEnd(role: "client" | "gateway") {
  const connections = loneConnections(role);
  const machine: TunnelClient | TunnelGateway =
    role === "client"
      ? createTunnelClient({ connections, flows: createLoneFlows() })
      : createTunnelGateway({
          connections,
          flows: createLoneFlows(),
          now: START,
          unixNow: UNIX_START,
          isHostOpen: false,
        });
  const end = {
    connections,
    now: START as Instant,
    /** When the portal was asked, in milliseconds since the start. */
    asked: [] as number[],
    lastSent: undefined as ConnectionTransmit | undefined,
    /** The relay that was written to last answers a Binding request. */
    answer() {
      const answer = answerTo(end.lastSent);
      machine.handleDatagram(end.now, answer);
      end.drain();
    },
    drain() {
      for (let next = machine.pollCommand(); next !== undefined; next = machine.pollCommand()) {
        if (next.kind !== "write-tun") machine.handleCarriedOut(end.now, next);
      }
      for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit()) {
        end.lastSent = next;
      }
      for (let next = machine.pollEvent(); next !== undefined; next = machine.pollEvent()) {
        if (next.kind === "relays-wanted") end.asked.push(end.now - START);
      }
    },
    init(...relays: readonly RelayEntry[]) {
      const common = { kind: "init", interface: ADDRESSES, relays } as const;
      if ("resources" in machine) {
        const upstream = { ...ADDRESSES, upstreamDo53: [], upstreamDoh: [] };
        machine.handlePortalMessage(end.now, { ...common, interface: upstream, resources: [] });
      } else {
        machine.handlePortalMessage(end.now, { ...common, authorizations: [] });
      }
      end.drain();
    },
    presence(disconnectedIds: readonly string[], ...connected: readonly RelayEntry[]) {
      const message: Extract<ClientMessage, { kind: "relays-presence" }> = {
        kind: "relays-presence",
        disconnectedIds,
        connected,
      };
      machine.handlePortalMessage(end.now, message);
      end.drain();
    },
    runTo(ms: number) {
      const until = START + ms;
      for (let due = machine.pollTimeout(); due !== undefined && due <= until; due = machine.pollTimeout()) {
        end.now = instant(Math.max(due, end.now));
        machine.handleTimeout(end.now);
        end.drain();
      }
      end.now = instant(until);
    },
    relays: () => connections.stats().relays.map(({ id }) => id),
  };
  end.drain();
  return end;
}

describe.each(["client", "gateway"] as const)("relays of a %s", (role) => {
  it("RL-207: where both families of a relay take TLS, that is one stream, and it comes before TCP", () => {
    const end = createEnd(role);
    const at = (address: string, port: number) => ({ address: { address: ip(address), port } });
    end.init(
      ...["203.0.113.1", "2001:db8::1"].map((address) => ({
        ...relay(RELAY_ID, address),
        tls: { ...at(address, 443), name: "relay.example" },
        tcp: at(address, 80),
      })),
    );
    end.runTo(3_000);
    const addresses = [at("203.0.113.1", 443).address, at("2001:db8::1", 443).address];
    expect(end.connections.pollStream()).toEqual({
      kind: "open",
      relay: RELAY_ID,
      place: { transport: "tls", addresses, name: "relay.example" },
    });
  });

  it("PT-53, PT-54: are what the portal lists; both families of one id are one relay", () => {
    const end = createEnd(role);
    end.init(relay(RELAY_ID, "203.0.113.1"), relay(RELAY_ID, "2001:db8::1"), relay(OTHER_ID, "203.0.113.2"));
    expect(end.relays()).toEqual([RELAY_ID, OTHER_ID]);
    end.presence([RELAY_ID], relay(OTHER_ID, "203.0.113.2"));
    expect(end.relays()).toEqual([OTHER_ID]);
    // What an `init` does not name is not taken away, but asked whether it lives (SN-109).
    end.init(relay(RELAY_ID, "203.0.113.1"));
    expect(end.relays()).toEqual([OTHER_ID, RELAY_ID]);
  });

  it("TN-104: the portal is asked at once when the last relay is lost", () => {
    const end = createEnd(role);
    end.init(relay(RELAY_ID, "203.0.113.1"));
    end.runTo(8_124);
    expect(end.asked).toEqual([]);
    end.runTo(8_125);
    expect(end.asked).toEqual([8_125]);
    expect(end.relays()).toEqual([]);
  });

  it("TN-104: further reconnects come after pauses of 5, 10, 20 … 300 s", () => {
    const end = createEnd(role);
    const times: number[] = [];
    end.init(UNUSABLE, relay(OTHER_ID, "203.0.113.2"));
    for (let i = 0; i < 9; i++) {
      const before = end.asked.length;
      // The portal takes the relay away and lists one that cannot be used: there is none.
      end.presence([OTHER_ID], UNUSABLE);
      for (let s = 0; s < 400 && end.asked.length === before; s++) end.runTo(end.now - START + 1_000);
      times.push(end.asked.at(-1) ?? -1);
      end.presence([], UNUSABLE, relay(OTHER_ID, "203.0.113.2"));
    }
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 300, 300].map((seconds) => seconds * 1_000));
  });

  it("TN-104: a relay that has answered ends the pause", () => {
    for (const isAnswering of [false, true]) {
      const end = createEnd(role);
      end.init(relay(RELAY_ID, "203.0.113.1"));
      end.runTo(8_125);
      end.presence([], UNUSABLE, relay(OTHER_ID, "203.0.113.2"));
      if (isAnswering) end.answer();
      end.presence([OTHER_ID], UNUSABLE);
      end.runTo(8_126);
      expect(end.asked).toEqual(isAnswering ? [8_125, 8_125] : [8_125]);
    }
  });

  it("TN-104, SN-138: an empty list is no reason to ask", () => {
    const end = createEnd(role);
    end.init(relay(RELAY_ID, "203.0.113.1"));
    end.presence([RELAY_ID]);
    end.runTo(60_000);
    expect(end.asked).toEqual([]);
  });

  it("TN-104: relays that come before the pause is over spare the question", () => {
    const end = createEnd(role);
    end.init(relay(RELAY_ID, "203.0.113.1"));
    end.runTo(8_125);
    end.presence([], UNUSABLE, relay(OTHER_ID, "203.0.113.2"));
    end.presence([OTHER_ID], UNUSABLE);
    end.presence([], relay(RELAY_ID, "203.0.113.3"));
    end.runTo(8_125 + 8_000);
    expect(end.asked).toEqual([8_125]);
  });
});
