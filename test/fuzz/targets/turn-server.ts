/**
 * A relay's machine under a sequence of datagrams of three clients (RL-12 ff.): raw ones, and requests whose attributes
 * are the input's and whose signature is right. Whatever comes, its state stays bounded and its timers end.
 */
import { concatBytes } from "../../../src/base/index.ts";
import { USERNAME } from "../../../src/stun/index.ts";
import {
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  TRANSPORT_UDP,
} from "../../../src/turn/index.ts";
import {
  at,
  type Client,
  createClient,
  createWorld,
  encodeRequest,
  fetchNonce,
  LIMITS,
  newTransaction,
  REALM,
  type World,
} from "../../unit/relay/relay-world.ts";
import { encodeSigned } from "../signed-stun.ts";
import { bytesOf, claim, type FuzzTarget, joinPieces, type Piece, piecesOf } from "../target.ts";
import { mendStun } from "./stun.ts";

const CLIENTS = ["192.0.2.1:1000", "192.0.2.1:1001", "[2001:db8:1::1]:1000"];
const PIECES_MAX = 24;
const [ATTRIBUTES_AT, MESSAGE_BYTES_MAX] = [20, 1200];

export function createTarget(): FuzzTarget {
  const methods = [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CHANNEL_BIND];
  const attributes = [
    fieldsOf(METHOD_ALLOCATE, { requestedTransport: TRANSPORT_UDP }),
    fieldsOf(METHOD_REFRESH, { lifetimeSeconds: 0 }),
    fieldsOf(METHOD_CHANNEL_BIND, { channelNumber: 0x4000, peerAddress: at("203.0.113.9:9") }),
  ];
  const signed = methods.map((method, i): Piece => {
    return { kind: 1, bytes: concatBytes(Uint8Array.of(method), attributes[i] ?? new Uint8Array()) };
  });
  const time = { kind: 2, bytes: Uint8Array.of(0, 2) };
  return {
    seeds: [
      joinPieces(...signed),
      joinPieces(...signed.slice(0, 1), ...signed.slice(2), time, ...signed.slice(1, 2)),
      joinPieces({ kind: 0, bytes: encodeRequest(METHOD_ALLOCATE, { requestedTransport: TRANSPORT_UDP }) }),
      joinPieces(...signed.slice(0, 1).flatMap((one) => [one, { ...one, kind: 5 }, { ...one, kind: 9 }])),
    ],
    words: [
      ...[Uint8Array.of(0, 0x19, 0, 4, 17, 0, 0, 0), Uint8Array.of(0, 0x17, 0, 4, 2, 0, 0, 0)],
      ...[Uint8Array.of(0x80, 0, 0, 4, 2, 0, 0, 0), Uint8Array.of(0, 0x18, 0, 1, 0x80, 0, 0, 0)],
      ...[Uint8Array.of(0, 0x22, 0, 8), Uint8Array.of(0, 0x0c, 0, 4, 0x40, 1, 0, 0)],
      ...[Uint8Array.of(0, 0x0d, 0, 4, 0, 0, 0, 0), Uint8Array.of(2, 2, 0, 0, 16), Uint8Array.of(1, 60, 0)],
    ],
    bytesMax: 2000,
    run(input) {
      const world = createWorld({ limits: { ...LIMITS, allocationsMax: 8, bindingsPerAllocation: 8 } });
      const clients = CLIENTS.map((address, i) => createClient(world, address, { user: `u${i % 2}` }));
      for (const piece of piecesOf(input, PIECES_MAX)) take(world, clients, piece);
      settle(world);
    },
  };
}

/** The attributes of a request without its header and what signs it. */
function fieldsOf(method: number, fields: Parameters<typeof encodeRequest>[1]): Uint8Array {
  return encodeRequest(method, fields).subarray(ATTRIBUTES_AT);
}

function take(world: World, clients: readonly Client[], { kind, bytes }: Piece): void {
  const client = clients[(kind >> 2) % clients.length];
  if (client === undefined) return;
  const datagram = bytes.subarray(0, MESSAGE_BYTES_MAX);
  switch (kind & 3) {
    case 0:
      world.server.handleClient(world.now, { datagram: mendStun(datagram), client: client.address });
      break;
    case 1:
      world.server.handleClient(world.now, {
        datagram: sign(world, client, datagram),
        client: client.address,
      });
      break;
    case 2:
      // A 16-bit number of seconds, so that allocations and bindings run out.
      return world.wait(1000 * (((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)));
    default:
      world.onBind = (port) => ((port + (bytes[0] ?? 0)) % 3 === 0 ? "in-use" : "ok");
      world.server.handleStreamEnd(world.now, client.address);
  }
  world.drain();
}

/** A request with the input's attributes, signed with the client's key and the relay's nonce. */
function sign(world: World, client: Client, [method = 3, ...raw]: Uint8Array): Uint8Array {
  client.nonce ??= fetchNonce(world, client);
  const { username, nonce, key } = client;
  return encodeSigned({
    ...{
      method: method & 15,
      class: "request",
      transactionId: newTransaction(),
      raw: Uint8Array.from(raw),
      key,
    },
    attributes: [
      { type: USERNAME, value: bytesOf(username) },
      { type: 0x0014, value: bytesOf(REALM) },
      { type: 0x0015, value: bytesOf(nonce) },
    ],
  });
}

function settle(world: World): void {
  const stats = world.server.stats();
  claim(stats.allocations <= 8, "as many allocations as there may be");
  claim(stats.boundChannels <= 64, "and bindings");
  let steps = 0;
  for (let due = world.server.pollTimeout(); due !== undefined; due = world.server.pollTimeout()) {
    claim(due > world.now || steps === 0, "no wake in the past");
    world.wait(Math.max(1, due - world.now));
    claim(++steps < 1000, "timers end");
  }
  const end = world.server.stats();
  claim(end.allocations + end.boundChannels + end.coolingChannels + end.reservations === 0, "nothing stays");
}
