/** Datagrams of control that meet a full socket (PG-46). */
import { expect, it } from "vitest";
import { type Instant, instant } from "../../../src/base/index.ts";
import { createOutbox } from "../../../src/program/shell/index.ts";

function rig() {
  const sent: number[] = [];
  let [isBusy, tries, lost] = [false, 0, 0];
  const outbox = createOutbox<number>(
    (one) => {
      tries++;
      if (isBusy) return "busy";
      sent.push(one);
      return "done";
    },
    (count) => {
      lost += count;
    },
  );
  return {
    outbox,
    sent,
    tries: () => tries,
    lost: () => lost,
    setBusy: (value: boolean) => {
      isBusy = value;
    },
  };
}

const at = (ms: number): Instant => instant(ms);

it("PG-46: what meets a full socket goes in its order as soon as there is room", () => {
  const { outbox, sent, setBusy } = rig();
  setBusy(true);
  for (const one of [1, 2, 3]) outbox.add(at(0), one);
  outbox.flush(at(0));
  expect(sent).toEqual([]);
  setBusy(false);
  outbox.flush(at(5));
  expect(sent).toEqual([1, 2, 3]);
  expect(outbox.retryInMs()).toBeUndefined();
});

it("PG-46: it is tried again after 1, 2, 4 … 64 ms, and after 1 ms again behind a success", () => {
  const { outbox, setBusy } = rig();
  setBusy(true);
  outbox.add(at(0), 1);
  const pauses = Array.from({ length: 9 }, (_, ms) => {
    // Several times in one turn are once.
    for (let i = 0; i < 3; i++) outbox.flush(at(ms));
    return outbox.retryInMs();
  });
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64]);
  setBusy(false);
  outbox.flush(at(0));
  setBusy(true);
  outbox.add(at(0), 2);
  outbox.flush(at(0));
  expect(outbox.retryInMs()).toBe(1);
});

it("PG-46: it waits for a second, not longer, and what is lost is told", () => {
  const { outbox, sent, lost, setBusy } = rig();
  setBusy(true);
  outbox.add(at(0), 1);
  outbox.add(at(600), 2);
  outbox.flush(at(1000));
  expect(lost()).toBe(0);
  outbox.flush(at(1001));
  expect(lost()).toBe(1);
  setBusy(false);
  outbox.flush(at(1002));
  expect(sent).toEqual([2]);
});

it("PG-46: 256 wait, of more the oldest is lost", () => {
  const { outbox, sent, lost, setBusy } = rig();
  setBusy(true);
  for (let one = 0; one < 256; one++) outbox.add(at(0), one);
  outbox.flush(at(0));
  expect(lost()).toBe(0);
  outbox.add(at(0), 256);
  outbox.flush(at(0));
  expect(lost()).toBe(1);
  setBusy(false);
  outbox.flush(at(0));
  expect(sent[0]).toBe(1);
  expect(sent).toHaveLength(256);
});

it("PG-46: a socket with room takes any number at once", () => {
  const { outbox, sent, lost } = rig();
  for (let one = 0; one < 1000; one++) outbox.add(at(0), one);
  outbox.flush(at(5000));
  expect(sent).toHaveLength(1000);
  expect(lost()).toBe(0);
});

it("PG-46: what all clients of a gateway are sent at once leaves without a standstill", () => {
  const { outbox, sent } = rig();
  for (let one = 0; one < 64_000; one++) outbox.add(at(0), one);
  const startedAt = process.cpuUsage();
  outbox.flush(at(0));
  expect(sent).toHaveLength(64_000);
  // Some milliseconds; with an array that is shifted, which moves what is left, seconds.
  expect(process.cpuUsage(startedAt).user / 1e6).toBeLessThan(0.7);
});
