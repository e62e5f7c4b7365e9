/**
 * How many peers join per second (PT-72). After a restart thousands come at once; gateways and relays go
 * first, because clients without them have nowhere to go.
 */
import { after, type Instant } from "../../base/index.ts";
import type { Frame } from "../protocol/index.ts";
import type { PeerSocket } from "./sockets.ts";

export interface JoinQueue {
  /** Whether this peer may join at once; else it is kept, with its frame, until its turn. */
  admit(now: Instant, socket: PeerSocket, frame: Frame): boolean;
  /** Whose turn has come. */
  due(now: Instant): readonly (readonly [PeerSocket, Frame])[];
  forget(socket: PeerSocket): void;
  readonly size: number;
  pollTimeout(): Instant | undefined;
}

const JOINS_PER_SECOND = 1_000;
/** Of an idle portal: a small office joins at once. */
const BURST = 100;
/** Turns come in groups, so that a queue does not wake the process for each. */
const GROUP_MS = 10;

export function createJoinQueue(start: Instant): JoinQueue {
  const first = new Map<PeerSocket, Frame>();
  const rest = new Map<PeerSocket, Frame>();
  let budget = BURST;
  let countedAt = start;
  let nextAt: Instant | undefined;

  const size = (): number => first.size + rest.size;

  /** While peers wait nothing of the time is lost: one late turn admits what many on time would have. */
  function refill(now: Instant): void {
    const gained = ((now - countedAt) / 1000) * JOINS_PER_SECOND;
    budget = size() > 0 ? budget + gained : Math.min(BURST, budget + gained);
    countedAt = now;
  }

  return {
    admit(now, socket, frame) {
      refill(now);
      if (size() === 0 && budget >= 1) {
        budget--;
        return true;
      }
      (socket.kind === "client" ? rest : first).set(socket, frame);
      nextAt ??= after(now, GROUP_MS);
      return false;
    },
    due(now) {
      if (nextAt === undefined || now < nextAt) return [];
      refill(now);
      const turns: (readonly [PeerSocket, Frame])[] = [];
      for (const queue of [first, rest]) {
        for (const entry of queue) {
          if (budget < 1) break;
          budget--;
          queue.delete(entry[0]);
          turns.push(entry);
        }
      }
      nextAt = size() === 0 ? undefined : after(now, GROUP_MS);
      return turns;
    },
    forget(socket) {
      first.delete(socket);
      rest.delete(socket);
      if (size() === 0) nextAt = undefined;
    },
    get size() {
      return size();
    },
    pollTimeout: () => nextAt,
  };
}
