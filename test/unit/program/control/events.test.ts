import { describe, expect, it } from "vitest";
import {
  type ControlEvent,
  createEventBus,
  createEventQueue,
} from "../../../../src/program/control/index.ts";

const reset = (n: number): ControlEvent => ({ event: "reset", data: { reason: String(n) } });

function drain(queue: ReturnType<typeof createEventQueue>): unknown[] {
  const all: unknown[] = [];
  for (let event = queue.shift(); event !== undefined; event = queue.shift()) all.push(event);
  return all;
}

describe("events for those who watch", () => {
  it("PG-112: a queue holds 256 events; what comes beyond is lost, and the loss is told in its place", () => {
    const queue = createEventQueue();
    for (let n = 0; n < 256; n++) queue.push(reset(n));
    expect(drain(queue)).toHaveLength(256);
    for (let n = 0; n < 300; n++) queue.push(reset(n));
    queue.shift();
    queue.shift();
    queue.push(reset(300));
    const seen = drain(queue);
    expect(seen.at(-3)).toEqual(reset(255));
    expect(seen.at(-2)).toEqual({ event: "lost", data: { count: 44 } });
    expect(seen.at(-1)).toEqual(reset(300));
  });

  it("PG-112: a loss that nothing follows is told when the queue is empty", () => {
    const queue = createEventQueue(2);
    for (let n = 0; n < 5; n++) queue.push(reset(n));
    expect(drain(queue)).toEqual([reset(0), reset(1), { event: "lost", data: { count: 3 } }]);
    expect(queue.shift()).toBeUndefined();
  });

  it("PG-112: everybody who listens hears an event, until the listening ends", () => {
    const bus = createEventBus();
    const [one, other]: ControlEvent[][] = [[], []];
    const end = bus.listen((event) => one?.push(event));
    bus.listen((event) => other?.push(event));
    bus.emit(reset(1));
    end();
    bus.emit(reset(2));
    expect(one).toEqual([reset(1)]);
    expect(other).toEqual([reset(1), reset(2)]);
  });
});
