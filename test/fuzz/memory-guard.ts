/**
 * Watches the plane's memory: what lies before and behind its buffers, what only control may write, and
 * the rows of peers and sessions, which unauthenticated datagrams must not touch (TS-38, WG-70).
 */
import { BYTES, CONSTANTS, OFFSETS } from "../../bindings/memory/index.ts";

const { plane: PLANE, session: SESSION, worker: WORKER } = OFFSETS;
const AT = CONSTANTS.PLANE_ADDRESS;
const CANARY = 0xa5;
/** Largest input: a frame of the TUN device with its header; padding may be written behind it. */
const INPUT_BYTES = CONSTANTS.FRAME_MAX_BYTES + 16;
/** Largest send, and what sealing may write behind its last tag. */
const SEND_BYTES = 65_536 + 64;
/** Headers of a segment are stamped before its payload, never before the frame's own. */
const GUARD_BYTES = CONSTANTS.BUFFER_LEAD - 64;

interface Range {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

export interface MemoryGuard {
  /** After a batch of datagrams: only rows of sessions that accepted something may differ. */
  checkBatch(acceptedLocals: ReadonlySet<number>): void;
  /** At the end: guards, constants, control's tables. */
  checkAll(): void;
  /** Control has changed something itself. */
  refresh(): void;
}

export function createMemoryGuard(memory: WebAssembly.Memory): MemoryGuard {
  const bytes = Buffer.from(memory.buffer);
  const words = new Uint32Array(memory.buffer);
  const word = (at: number) => words[at >> 2] ?? 0;
  const rows = tableRanges(word);
  const guards = guardRanges(word, bytes.length);
  for (const { from, to } of guards) bytes.fill(CANARY, from, to);
  const fixed: readonly Range[] = [
    { name: "constants of the module", from: 0x10000, to: AT },
    { name: "control's scratch", from: CONSTANTS.SCRATCH_ADDRESS, to: CONSTANTS.HEAP_ADDRESS },
    { name: "policy", from: word(AT + PLANE.policy), to: word(AT + PLANE.policy) + BYTES.policy },
  ];
  const copies = fixed.map(({ from, to }) => Buffer.from(bytes.subarray(from, to)));
  const table = { from: rows.sessions.from, to: rows.sessions.to };
  const peers = Buffer.alloc(rows.peers.to - rows.peers.from);
  const sessions = Buffer.alloc(table.to - table.from);

  function refresh(): void {
    bytes.copy(peers, 0, rows.peers.from, rows.peers.to);
    bytes.copy(sessions, 0, table.from, table.to);
  }

  function checkGuards(): void {
    for (const { name, from, to } of guards) {
      const at = bytes.subarray(from, to).findIndex((byte) => byte !== CANARY);
      if (at >= 0) throw new Error(`written into the guard ${name}, ${at} bytes from its beginning`);
    }
  }

  refresh();
  return {
    refresh,
    checkBatch(accepted) {
      if (accepted.size === 0) {
        const isSame = peers.equals(bytes.subarray(rows.peers.from, rows.peers.to));
        if (!isSame) throw new Error("an unauthenticated datagram changed the row of a peer");
      }
      for (let at = table.from; at < table.to; at += BYTES.session) {
        const length = accepted.has(word(at + SESSION.local)) ? SESSION.last : BYTES.session;
        const before = sessions.subarray(at - table.from, at - table.from + length);
        if (!before.equals(bytes.subarray(at, at + length))) {
          throw new Error(`the row of session ${word(at + SESSION.local)} changed`);
        }
      }
      refresh();
    },
    checkAll() {
      checkGuards();
      for (const [i, { name, from, to }] of fixed.entries()) {
        const copy = copies[i];
        if (copy === undefined || !copy.equals(bytes.subarray(from, to))) throw new Error(`${name} changed`);
      }
    },
  };
}

function tableRanges(word: (at: number) => number) {
  const peers = word(AT + PLANE.peers);
  const sessions = word(AT + PLANE.sessions);
  return {
    peers: { from: peers, to: peers + word(AT + PLANE.peerCapacity) * BYTES.peer },
    sessions: { from: sessions, to: sessions + word(AT + PLANE.sessionCapacity) * BYTES.session },
  };
}

/** Room that no path may write: around the buffers of both workers. */
function guardRanges(word: (at: number) => number, end: number): readonly Range[] {
  const [egress, ingress] = findWorkers(word, end);
  const around = (name: string, buffer: number, used: number): readonly Range[] => [
    { name: `before ${name}`, from: buffer, to: buffer + GUARD_BYTES },
    {
      name: `behind ${name}`,
      from: buffer + CONSTANTS.BUFFER_LEAD + used,
      to: buffer + CONSTANTS.BUFFER_BYTES,
    },
  ];
  return [
    ...around("egress input", word(egress + WORKER.input), INPUT_BYTES),
    ...around("egress output", word(egress + WORKER.output), SEND_BYTES),
    ...around("ingress input", word(ingress + WORKER.input), INPUT_BYTES),
  ];
}

/** The two worker records: without threads all their descriptors are -1. */
function findWorkers(word: (at: number) => number, end: number): readonly [number, number] {
  const found: number[] = [];
  for (let at: number = CONSTANTS.HEAP_ADDRESS; at < end && found.length < 2; at += 64) {
    const fields = [WORKER.tun, WORKER.udp4, WORKER.udp6, WORKER.wakeFd];
    if (fields.every((field) => word(at + field) === 0xffffffff)) found.push(at);
  }
  const [egress, ingress] = found;
  if (egress === undefined || ingress === undefined) throw new Error("two workers have records");
  return [egress, ingress];
}
