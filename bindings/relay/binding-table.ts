/**
 * Control's hand in the bindings of the relay's data path (RL-49): it fills rows, links and unlinks them, and
 * reads what the workers have counted. A row is used again when no worker can stand on it any more.
 */
import {
  assert,
  formatSocketAddress,
  type Instant,
  type IpAddress,
  instant,
  type Random,
  randomBytes,
} from "../../src/base/index.ts";
import type { BindingUsage, RelayBinding } from "../../src/plane/index.ts";
import { encodeSockaddr } from "../linux/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type RelayExports, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "../table/index.ts";

const { plane: PLANE, relay: RELAY, binding: BINDING } = OFFSETS;
const NAME_BYTES = 32;

/** Descriptors through which the data of a binding goes. */
export interface BindingSockets {
  /** Of the allocation port, in the peer's family. */
  readonly fd: number;
  /** In the client's family. */
  readonly listenFd: number;
}

export interface BindingTable {
  /** The data path knows it when this returns (RL-30). An earlier one of the same channel is replaced. */
  publish(binding: RelayBinding, sockets: BindingSockets): void;
  remove(binding: RelayBinding): void;
  usage(binding: RelayBinding): BindingUsage | undefined;
  readonly size: number;
}

export interface BindingTableOptions {
  readonly shared: SharedMemory;
  readonly exports: RelayExports;
  readonly quiescence: Quiescence;
  readonly random: Random;
  readonly capacity: number;
}

interface TableState extends BindingTableOptions {
  readonly rows: Map<string, number>;
  readonly free: number[];
  /** The next row that was never used. */
  next: number;
  readonly end: number;
}

/** Makes the table and names it in the plane's record. */
export function createBindingTable(options: BindingTableOptions): BindingTable {
  const { shared, random, capacity } = options;
  const relay = shared.allocate(BYTES.relay);
  const chains = CONSTANTS.RELAY_CHAINS;
  shared.bytes.set(randomBytes(random, 8), relay + RELAY.seed);
  shared.words[(relay + RELAY.channels) >> 2] = shared.allocate(4 * chains);
  shared.words[(relay + RELAY.peers) >> 2] = shared.allocate(4 * chains);
  shared.words[(relay + RELAY.chainMask) >> 2] = chains - 1;
  const first = shared.allocate(capacity * BYTES.binding);
  shared.words[(CONSTANTS.PLANE_ADDRESS + PLANE.relay) >> 2] = relay;
  const state: TableState = {
    ...options,
    rows: new Map(),
    free: [],
    next: first,
    end: first + capacity * BYTES.binding,
  };
  return {
    publish(binding, sockets) {
      remove(state, binding);
      const row = takeRow(state);
      fill(shared, row, binding, sockets);
      state.rows.set(keyOf(binding), row);
      options.exports.relayLink(row);
    },
    remove: (binding) => remove(state, binding),
    usage(binding) {
      const row = state.rows.get(keyOf(binding));
      return row === undefined ? undefined : usageOf(shared, row);
    },
    get size() {
      return state.rows.size;
    },
  };
}

function keyOf({ client, channel }: RelayBinding): string {
  return `${formatSocketAddress(client)} ${channel}`;
}

function remove(state: TableState, binding: RelayBinding): void {
  const key = keyOf(binding);
  const row = state.rows.get(key);
  if (row === undefined) return;
  state.rows.delete(key);
  state.exports.relayUnlink(row);
  state.quiescence.after(() => void state.free.push(row));
}

function takeRow(state: TableState): number {
  const { quiescence, free } = state;
  quiescence.reclaim();
  if (free.length === 0 && state.next === state.end) quiescence.drain();
  const row = free.pop() ?? state.next;
  if (row === state.next) state.next += BYTES.binding;
  assert(row < state.end, "the machine's limit of bindings is the table's");
  return row;
}

function fill(
  { bytes, words }: SharedMemory,
  row: number,
  binding: RelayBinding,
  sockets: BindingSockets,
): void {
  const { client, peer, channel, port, local, isHairpin } = binding;
  bytes.fill(0, row, row + BYTES.binding);
  const set = (field: number, value: number): void => {
    words[(row + field) >> 2] = value;
  };
  const setAddress = (field: number, lengthField: number, address: IpAddress): void => {
    bytes.set(address, row + field);
    set(lengthField, address.length);
  };
  set(BINDING.channel, channel);
  set(BINDING.port, port);
  setAddress(BINDING.client, BINDING.clientBytes, client.address);
  set(BINDING.clientPort, client.port);
  setAddress(BINDING.peer, BINDING.peerBytes, peer.address);
  set(BINDING.peerPort, peer.port);
  set(BINDING.fd, sockets.fd);
  set(BINDING.listenFd, sockets.listenFd);
  set(BINDING.isHairpin, isHairpin ? 1 : 0);
  if (local !== undefined) setAddress(BINDING.local, BINDING.localBytes, local);
  encodeSockaddr(client, bytes.subarray(row + BINDING.clientName, row + BINDING.clientName + NAME_BYTES));
  encodeSockaddr(peer, bytes.subarray(row + BINDING.peerName, row + BINDING.peerName + NAME_BYTES));
}

function usageOf({ longs }: SharedMemory, row: number): BindingUsage {
  const read = (field: number): number => Number(Atomics.load(longs, (row + field) >> 3));
  const lastUsed: number = Math.max(read(BINDING.toPeerUsed), read(BINDING.toClientUsed));
  return {
    toPeer: { packets: read(BINDING.toPeerPackets), bytes: read(BINDING.toPeerBytes) },
    toClient: { packets: read(BINDING.toClientPackets), bytes: read(BINDING.toClientBytes) },
    lastUsed: lastUsed === 0 ? undefined : (instant(lastUsed) satisfies Instant),
  };
}
