/**
 * Channel bindings in two tables of chains: by client and channel, by allocation port and peer (RL-49).
 *
 * Control alone links and unlinks; workers read meanwhile. A binding is written before it is linked, and one
 * that was unlinked keeps its own links, so that a worker that stands on it finds its way on. Its row is used
 * again only after both workers have passed a quiescent point. The twin, `test/twin/relay/relay.ts`, searches a list.
 */
import { mix } from "../hash";
import { Binding, PLANE_ADDRESS, Plane, Relay } from "../layout";

/** The binding of a client's channel, or 0. The address is 16 bytes, zeros behind IPv4. */
export function findByChannel(address: usize, bytes: u32, port: u32, channel: u32): usize {
  const relay = relayRecord();
  const wanted = v128.load(address);
  let row = first(channelChain(relay, address, port, channel));
  while (row != 0) {
    if (
      load<u32>(row, Binding.CHANNEL) == channel &&
      load<u32>(row, Binding.CLIENT_PORT) == port &&
      load<u32>(row, Binding.CLIENT_BYTES) == bytes &&
      isSame(v128.load(row, Binding.CLIENT), wanted)
    )
      return row;
    row = <usize>atomic.load<u32>(row, Binding.NEXT_OF_CHANNELS);
  }
  return 0;
}

/** The binding of a peer at an allocation port, or 0. */
export function findByPeer(port: u32, address: usize, bytes: u32, peerPort: u32): usize {
  const relay = relayRecord();
  const wanted = v128.load(address);
  let row = first(peerChain(relay, address, port, peerPort));
  while (row != 0) {
    if (
      load<u32>(row, Binding.PORT) == port &&
      load<u32>(row, Binding.PEER_PORT) == peerPort &&
      load<u32>(row, Binding.PEER_BYTES) == bytes &&
      isSame(v128.load(row, Binding.PEER), wanted)
    )
      return row;
    row = <usize>atomic.load<u32>(row, Binding.NEXT_OF_PEERS);
  }
  return 0;
}

/** Makes a binding that is completely written visible. Control only. */
export function relayLink(row: usize): void {
  const byChannel = channelChainOf(row);
  atomic.store<u32>(row, load<u32>(byChannel), Binding.NEXT_OF_CHANNELS);
  const byPeer = peerChainOf(row);
  atomic.store<u32>(row, load<u32>(byPeer), Binding.NEXT_OF_PEERS);
  atomic.store<u32>(byChannel, <u32>row);
  atomic.store<u32>(byPeer, <u32>row);
}

/** Hides a binding. Control only; the row stays as it is until no worker can stand on it. */
export function relayUnlink(row: usize): void {
  unlinkFrom(channelChainOf(row), row, Binding.NEXT_OF_CHANNELS);
  unlinkFrom(peerChainOf(row), row, Binding.NEXT_OF_PEERS);
}

/** @param chain address of the chain's head; `next` is the offset of the link in a row */
function unlinkFrom(chain: usize, row: usize, next: usize): void {
  let link = chain;
  for (let at = first(chain); at != 0; at = <usize>load<u32>(link)) {
    if (at == row) {
      atomic.store<u32>(link, load<u32>(row + next));
      return;
    }
    link = at + next;
  }
}

function relayRecord(): usize {
  return load<usize>(PLANE_ADDRESS, Plane.RELAY);
}

function first(chain: usize): usize {
  return <usize>atomic.load<u32>(chain);
}

function channelChainOf(row: usize): usize {
  const port = load<u32>(row, Binding.CLIENT_PORT);
  return channelChain(relayRecord(), row + Binding.CLIENT, port, load<u32>(row, Binding.CHANNEL));
}

function peerChainOf(row: usize): usize {
  const port = load<u32>(row, Binding.PORT);
  return peerChain(relayRecord(), row + Binding.PEER, port, load<u32>(row, Binding.PEER_PORT));
}

function channelChain(relay: usize, address: usize, port: u32, channel: u32): usize {
  return chainOf(relay, load<usize>(relay, Relay.CHANNELS), address, (port << 16) | channel);
}

function peerChain(relay: usize, address: usize, port: u32, peerPort: u32): usize {
  return chainOf(relay, load<usize>(relay, Relay.PEERS), address, (port << 16) | peerPort);
}

/** Peers and clients choose what is hashed: the seed keeps them from choosing who shares a chain. */
function chainOf(relay: usize, chains: usize, address: usize, rest: u32): usize {
  let hash = load<u64>(relay, Relay.SEED);
  hash = mix(hash, load<u64>(address));
  hash = mix(hash, load<u64>(address, 8));
  hash = mix(hash, <u64>rest);
  return chains + ((<usize>(<u32>(hash >> 32) & load<u32>(relay, Relay.CHAIN_MASK))) << 2);
}

// @ts-ignore: a decorator
@inline
function isSame(a: v128, b: v128): bool {
  return !v128.any_true(v128.xor(a, b));
}
