/**
 * Allocations and channels that come and go under traffic, on the relay's real workers (RL §23 item 6): few ports, so
 * that each has another owner soon, and each owner a peer of its own, which goes on sending to ports that it has lost.
 *
 *     clients 192.0.2.1… ──▶ relay 198.51.100.7:3478, ports 50000…50011 ──▶ peers 203.0.113.1…
 */
import { readdirSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openKernel, openUdpSockets, receiveDatagram, sendDatagram } from "../../bindings/linux/index.ts";
import { formatSocketAddress, ip, type SocketAddress, toHex } from "../../src/base/index.ts";
import {
  encodeChannelData,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  parseChannelData,
  type TurnFields,
  type TurnMessage,
} from "../../src/turn/index.ts";
import { type RelayHost, startRelayHost } from "../lib/relay-host.ts";
import { describeWith } from "../lib/requirements.ts";
import {
  codeOf,
  encodeRequest,
  keyFor,
  messageOf,
  newTransaction,
  portOf,
  saltOf,
  UDP,
} from "../unit/relay/relay-world.ts";

const RELAY: SocketAddress = { address: ip("198.51.100.7"), port: 3478 };
const WITHIN_MS = 20_000;
const PORTS = { lowest: 50_000, highest: 50_011 };
/** One keeps its allocation the whole time, the others change theirs. */
const ENDS = 6;
/** Below what one address may ask at once (RL-59). */
const ROUNDS = 40;
const CHANNELS = 3;
const WORDS = 12;

const kernel = openKernel();
const text = new TextDecoder();
const bytesOf = (word: string) => new TextEncoder().encode(word);

/** A client and its peer: what each has received, as text. */
interface End {
  readonly name: string;
  readonly client: Socket;
  readonly peer: Socket;
  readonly username: string;
  readonly answers: Map<string, TurnMessage>;
  /** By channel: what came from the peer. */
  readonly heard: string[];
  readonly told: { readonly word: string; readonly from: SocketAddress }[];
  nonce: string | undefined;
}

interface Socket {
  readonly fd: number;
  readonly at: SocketAddress;
  close(): void;
}

describeWith(["netns", "ipv6", "build"], "churn at a relay", () => {
  let made: RelayHost;
  let ends: readonly End[];

  beforeEach(async () => {
    const args = ["--lowest-port", `${PORTS.lowest}`, "--highest-port", `${PORTS.highest}`];
    args.push("--public-ip4", "198.51.100.7", "--drain", "1s");
    made = await startRelayHost("churn", ["198.51.100.7/32"], args);
    ends = Array.from({ length: ENDS }, (_, i) => openEnd(i + 1));
  }, 60_000);

  afterEach(async () => {
    for (const { client, peer } of ends) {
      client.close();
      peer.close();
    }
    await made?.close();
  });

  function openEnd(i: number): End {
    return {
      name: `end ${i}`,
      client: openSocket(`192.0.2.${i}`),
      peer: openSocket(`203.0.113.${i}`),
      username: `4000000000:${saltOf(`churn${i}`)}`,
      answers: new Map(),
      heard: [],
      told: [],
      nonce: undefined,
    };
  }

  function openSocket(address: string): Socket {
    made.host.run("ip", "addr", "add", `${address}/32`, "dev", "lo");
    const sockets = made.host.enter(() =>
      openUdpSockets(kernel, {
        port: { kind: "any" },
        gro: false,
        sendBufferBytes: 1 << 20,
        receiveBufferBytes: 4 << 20,
      }),
    );
    const { fd = -1, port = 0 } = sockets.v4 ?? {};
    return { fd, at: { address: ip(address), port }, close: sockets.close };
  }

  function send(from: Socket, to: SocketAddress, bytes: Uint8Array): void {
    sendDatagram(kernel, from.fd, { to, bytes, source: from.at.address });
  }

  /** Takes what has come to all of them. */
  function take(): void {
    for (const { client, peer, answers, heard, told } of ends) {
      for (let next = receiveDatagram(kernel, client.fd); next; next = receiveDatagram(kernel, client.fd)) {
        const data = parseChannelData(next.bytes, 0x7fff);
        if (data.ok) {
          heard.push(`${data.value.channel.toString(16)} ${text.decode(data.value.data)}`);
          continue;
        }
        const message = messageOf(Uint8Array.from(next.bytes));
        answers.set(toHex(message.frame.transactionId), message);
      }
      for (let next = receiveDatagram(kernel, peer.fd); next; next = receiveDatagram(kernel, peer.fd)) {
        told.push({ word: text.decode(next.bytes), from: next.from });
      }
    }
  }

  async function until<T>(look: () => T | undefined, what: string): Promise<T> {
    const end = performance.now() + WITHIN_MS;
    for (;;) {
      take();
      const found = look();
      if (found !== undefined) return found;
      if (performance.now() > end) throw new Error(`not within ${WITHIN_MS} ms: ${what}`);
      await turn();
    }
  }

  async function ask(end: End, method: number, fields: TurnFields): Promise<TurnMessage> {
    const { username, nonce, client, answers, name } = end;
    const transactionId = newTransaction();
    const signature = nonce === undefined ? {} : { username, key: keyFor(username), nonce };
    send(client, RELAY, encodeRequest(method, fields, { ...signature, transactionId }));
    const id = toHex(transactionId);
    return await until(() => answers.get(id), `${name}: answer to ${method}`);
  }

  /** @returns where its peer finds it */
  async function allocate(end: End): Promise<SocketAddress> {
    if (end.nonce === undefined) {
      const challenge = await ask(end, METHOD_ALLOCATE, UDP);
      end.nonce = text.decode(challenge.fields.nonce);
    }
    const answer = await ask(end, METHOD_ALLOCATE, UDP);
    return { address: RELAY.address, port: portOf(answer) };
  }

  async function bind(end: End, channelNumber: number): Promise<void> {
    const answer = await ask(end, METHOD_CHANNEL_BIND, { channelNumber, peerAddress: end.peer.at });
    expect(codeOf(answer)).toBe("success");
  }

  function say(end: End, channel: number, word: string): void {
    const into = new Uint8Array(200);
    send(end.client, RELAY, into.slice(0, encodeChannelData(into, { channel, data: bytesOf(word) })));
  }

  /** Words pass both ways by one channel, all of them and in order. */
  async function talk(end: End, relayed: SocketAddress, channel: number, round: number): Promise<void> {
    const words = Array.from({ length: WORDS }, (_, i) => `${end.name} round ${round} word ${i}`);
    const [told, heard] = [end.told.length, end.heard.length];
    for (const word of words) {
      say(end, channel, word);
      send(end.peer, relayed, bytesOf(word));
    }
    const hasAll = () => (end.told.length >= told + WORDS && end.heard.length >= heard + WORDS) || undefined;
    await until(hasAll, `${end.name}: words of round ${round}`);
    expect(end.told.slice(told).map(({ word }) => word)).toEqual(words);
    expect(end.told.slice(told).every(({ from }) => from.port === relayed.port)).toBe(true);
    expect(end.heard.slice(heard)).toEqual(words.map((word) => `${channel.toString(16)} ${word}`));
  }

  /** An allocation, one channel after the other to the same peer is refused, so each round has one; then it is deleted. */
  async function churn(end: End, lost: Map<string, SocketAddress>): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const relayed = await allocate(end);
      const channel = 0x4000 + (round % CHANNELS);
      await bind(end, channel);
      // The peer still talks to where it was, which may be somebody else's by now.
      for (const port of lost.values()) if (port.port !== relayed.port) send(end.peer, port, bytesOf("lost"));
      await talk(end, relayed, channel, round);
      expect(codeOf(await ask(end, METHOD_REFRESH, { lifetimeSeconds: 0 }))).toBe("success");
      say(end, channel, "of a channel that is gone");
      lost.set(formatSocketAddress(relayed), relayed);
    }
  }

  function descriptors(): number {
    return readdirSync(`/proc/${made.relay.pid}/fd`).length;
  }

  it("RL-29, RL-31, RL-49, RL-54: nobody hears another's words, nothing of a lasting channel is lost", async () => {
    const before = descriptors();
    const [lasting, ...others] = ends;
    if (lasting === undefined) throw new Error("no ends");
    const relayed = await allocate(lasting);
    await bind(lasting, 0x4000);
    let isChurning = true;
    let rounds = 0;
    const talking = (async () => {
      for (; isChurning; rounds++) await talk(lasting, relayed, 0x4000, rounds);
    })();
    await Promise.all(others.map((end) => churn(end, new Map())));
    isChurning = false;
    await talking;
    expect(rounds).toBeGreaterThan(ROUNDS / 10);
    expect(codeOf(await ask(lasting, METHOD_REFRESH, { lifetimeSeconds: 0 }))).toBe("success");
    // All ports are closed when both workers have passed on (RL-54).
    await vi.waitFor(() => expect(descriptors()).toBe(before), { timeout: WITHIN_MS, interval: 20 });
    for (const { name, told, heard } of ends) {
      expect(
        [...told.map(({ word }) => word), ...heard.map((line) => line.slice(5))].filter(
          (word) => !word.startsWith(name),
        ),
      ).toEqual([]);
    }
  }, 120_000);
});
