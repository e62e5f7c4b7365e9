import { REPLAY_WINDOW, Session } from "../layout";
import { accept, isFresh } from "../table/replay-window";
import { emptyPlane, installSession } from "./world";

let session: usize = 0;

describe("the replay window", () => {
  beforeEach(() => {
    emptyPlane();
    session = installSession(0, 0, 1);
  });

  test("WG-48: the first counter may be any, and every counter is accepted once", () => {
    expect(accept(session, 1000)).toBe(true);
    expect(accept(session, 1000)).toBe(false);
    expect(accept(session, 0)).toBe(true);
    expect(accept(session, 0)).toBe(false);
    expect(load<u64>(session, Session.RECEIVED)).toBe(2);
    expect(load<u64>(session, Session.LAST)).toBe(1000);
  });

  test("WG-48: a counter that is too old by one is refused, and the oldest in the window is not", () => {
    expect(accept(session, 100_000)).toBe(true);
    expect(isFresh(session, 100_000 - <u64>REPLAY_WINDOW)).toBe(true);
    expect(isFresh(session, 100_000 - <u64>REPLAY_WINDOW - 1)).toBe(false);
    expect(accept(session, 100_000 - <u64>REPLAY_WINDOW)).toBe(true);
    expect(accept(session, 100_000 - <u64>REPLAY_WINDOW)).toBe(false);
  });

  test("WG-48: asking changes nothing", () => {
    expect(isFresh(session, 5)).toBe(true);
    expect(isFresh(session, 5)).toBe(true);
    expect(load<u64>(session, Session.RECEIVED)).toBe(0);
  });

  test("WG-48: a step forward clears what it passes, and keeps the rest", () => {
    for (let counter: u64 = 0; counter < 200; counter++) accept(session, counter);
    expect(accept(session, 200 + 64)).toBe(true);
    expect(isFresh(session, 199)).toBe(false);
    expect(isFresh(session, 201)).toBe(true);
    expect(isFresh(session, 263)).toBe(true);
  });

  test("WG-48: a leap over the whole ring leaves nothing of what was there", () => {
    for (let counter: u64 = 0; counter < 64; counter++) accept(session, counter);
    expect(accept(session, 1 << 40)).toBe(true);
    const oldest = ((1 as u64) << 40) - <u64>REPLAY_WINDOW;
    for (let counter = oldest; counter < (1 as u64) << 40; counter++) {
      if (!isFresh(session, counter)) expect(counter).toBe(0, "every counter of the window is new");
    }
    expect(isFresh(session, 1 << 40)).toBe(false);
  });
});
