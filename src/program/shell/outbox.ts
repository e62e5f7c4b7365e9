/** Datagrams of control that wait for room in the socket, in their order. */

/** Beyond it the oldest is lost, as on any path. */
const UNSENT_MAX = 256;

export interface Outbox<T> {
  add(transmit: T): void;
  /** Sends until the socket is busy. */
  flush(): void;
  isWaiting(): boolean;
}

export function createOutbox<T>(send: (transmit: T) => "done" | "busy"): Outbox<T> {
  const unsent: T[] = [];
  return {
    add(transmit) {
      unsent.push(transmit);
    },
    flush() {
      if (unsent.length > UNSENT_MAX) unsent.splice(0, unsent.length - UNSENT_MAX);
      for (let next = unsent[0]; next !== undefined; next = unsent[0]) {
        if (send(next) === "busy") return;
        unsent.shift();
      }
    },
    isWaiting: () => unsent.length > 0,
  };
}
