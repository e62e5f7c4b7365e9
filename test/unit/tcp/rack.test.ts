/**
 * The examples and steps of RFC 8985 as scripts (PG-127). The round trip is 100 ms; the peer has no time stamps, so that
 * what was sent twice is told apart as the RFC does it without them.
 */
import { describe, it } from "vitest";
import { runScript } from "./script.ts";

const MSS = 1_240;
const segment = (i: number, many = 1): string => `${1 + i * MSS}:${1 + (i + many) * MSS}(${many * MSS})`;
const edges = (from: number, to: number): string => `${1 + from * MSS}:${1 + to * MSS}`;
const sends = (many: number, first = 0): string =>
  Array.from({ length: many }, (_, i) => `+0 > . ${segment(first + i)} ack 1`).join("\n");
/** The peer has all before segment `upTo`, and what `sack` tells. */
const acks = (upTo: number, sack = ""): string =>
  `< . 1:1(0) ack ${1 + upTo * MSS} win 512${sack === "" ? "" : ` <sack ${sack}>`}`;

const openAfter = (roundTripMs: number): string => `
  +0    < S 0:0(0) win 65535 <mss ${MSS},sackOK,wscale 7>
  +0    > S. 0:0(0) ack 1
  +${roundTripMs} < . 1:1(0) ack 1 win 512
  +0    * opened
`;
const OPEN = openAfter(100);

/** Segments `at` and `at + 1`; the first comes so late that it goes again after the window; DSACK tells if wanted. */
const lateOf = (at: number, windowMs: number, hasDsack: boolean): string => `
  +0    send ${2 * MSS}
  ${sends(2, at)}
  +100  ${acks(at, edges(at + 1, at + 2))}
  +${windowMs} > . ${segment(at)} ack 1
  +10   ${acks(at + 2)}
  ${hasDsack ? `+90 ${acks(at + 2, edges(at, at + 1))}` : ""}
`;

describe("RFC 8985 §9.1: what RACK finds that counting does not", () => {
  it("PG-127: example 1: of P1, P2, P3 the first and the last are lost, and no time-out is needed", () => {
    runScript(`${OPEN}
      // Each well behind the other: by more than the reordering window of 25 ms.
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      +30   send ${MSS}
      +0    > . ${segment(1)} ack 1
      +30   send ${MSS}
      +0    > . ${segment(2)} ack 1
      +70   ${acks(0, edges(1, 2))}
      +0    > . ${segment(0)} ack 1
      // The answer to the repeated P1 tells of P3, which was sent before it.
      +100  ${acks(2)}
      +0    > . ${segment(2)} ack 1
      +100  ${acks(3)}
      +9000 wait
    `);
  });

  it("PG-127: example 2: P1 and P2 are lost, and P1 once more; P2's second arrival tells", () => {
    runScript(`${OPEN}
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      +30   send ${MSS}
      +0    > . ${segment(1)} ack 1
      +30   send ${MSS}
      +0    > . ${segment(2)} ack 1
      +100  ${acks(0, edges(2, 3))}
      ${sends(2)}
      +100  ${acks(0, edges(1, 3))}
      +0    > . ${segment(0)} ack 1
      // 300 ms behind the first P1; but each repetition began the time-out anew (RFC 6675 §6).
      +100  ${acks(3)}
      +9000 wait
    `);
  });

  it("PG-127: example 3: P3, of one octet, overtakes; the others have a quarter of the round trip", () => {
    const arrive = (lateMs: number, then: string): void => {
      runScript(`${OPEN}
        // Reordering has been seen before.
        +0    send ${2 * MSS}
        ${sends(2)}
        +100  ${acks(0, edges(1, 2))}
        +1    ${acks(2)}
        +0    send ${2 * MSS + 1}
        ${sends(2, 2)}
        +0    > . ${1 + 4 * MSS}:${2 + 4 * MSS}(1) ack 1
        +100  ${acks(2, `${1 + 4 * MSS}:${2 + 4 * MSS}`)}
        +${lateMs} ${then}
        +0    < . 1:1(0) ack ${2 + 4 * MSS} win 512
        +9000 wait
      `);
    };
    arrive(24, "wait");
    arrive(25, `> . ${segment(2)} ack 1\n+0 > . ${segment(3)} ack 1`);
  });
});

describe("RFC 8985 §6: RACK", () => {
  it("PG-127: each round trip with DSACK adds a quarter of the least one, up to the mean one (§6.2 step 4)", () => {
    const windows = [25, 50, 75, 100, 100, 100];
    runScript(`${OPEN}
      ${windows.map((windowMs, i) => lateOf(2 * i, windowMs, true)).join("\n")}
      +9000 wait
    `);
  });

  it("PG-127: after sixteen recoveries without DSACK it is one quarter again, and one by time-out counts", () => {
    const recoveries = Array.from({ length: 15 }, (_, i) => lateOf(4 + 2 * i, 50, false));
    runScript(`${OPEN}
      +0    send ${2 * MSS}
      ${sends(2)}
      +100  ${acks(0, edges(1, 2))}
      +25   > . ${segment(0)} ack 1
      // The end of this recovery is not one without DSACK.
      +100  ${acks(2, edges(0, 1))}
      +0    send ${2 * MSS}
      ${sends(2, 2)}
      +200  > . ${segment(3)} ack 1
      +300  > . ${segment(2)} ack 1
      +100  ${acks(3)}
      +0    > . ${segment(3)} ack 1
      +100  ${acks(4)}
      ${recoveries.join("\n")}
      ${lateOf(34, 25, false)}
    `);
  });

  it("PG-127: a time-out takes the first for lost, not what was sent just before it (§3.5, §6.3)", () => {
    runScript(`${OPEN}
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      // The probe, in place of the first time-out.
      +300  > . ${segment(0)} ack 1
      +295  send ${2 * MSS}
      ${sends(2, 1)}
      +5    > . ${segment(0)} ack 1
      // Its first transmission was only late: nothing else goes again.
      +5    ${acks(1)}
      +90   ${acks(3)}
      +9000 wait
    `);
  });

  it("PG-127: what was sent a round trip and more before the time-out is lost with the first (§6.3)", () => {
    runScript(`${OPEN}
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      +300  > . ${segment(0)} ack 1
      +200  send ${MSS}
      +0    > . ${segment(1)} ack 1
      +1    send ${MSS}
      +0    > . ${segment(2)} ack 1
      +99   > . ${segment(0)} ack 1
      // Its first transmission was only late; it says nothing of the third, which is one millisecond younger.
      +5    ${acks(1)}
      +0    > . ${segment(1)} ack 1
      +95   ${acks(3)}
      +9000 wait
    `);
  });
});

describe("RFC 8985 §7: TLP", () => {
  it("PG-127: two mean round trips, then a whole time-out for the probe (§7.2, §7.3)", () => {
    runScript(`${OPEN}
      +0    send ${2 * MSS}
      ${sends(2)}
      +200  > . ${segment(1)} ack 1
      +300  > . ${segment(0)} ack 1
      +600  > . ${segment(0)} ack 1
    `);
  });

  it("PG-127: and 200 ms more for one segment alone, whose acknowledgement may be held back (§7.2)", () => {
    runScript(`${openAfter(300)}
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      // 2 × 300 + 200, before the time-out of 900.
      +800  > . ${segment(0)} ack 1
      +900  > . ${segment(0)} ack 1
    `);
  });

  it("PG-127: one second where nothing has been timed (§7.2)", () => {
    runScript(`
      +0    connect
      +0    > S 0:0(0)
      +1000 > S 0:0(0)
      +10   < S. 0:0(0) ack 1 win 60000 <mss ${MSS},sackOK>
      +0    * opened
      +0    > . 1:1(0) ack 1
      +0    send ${2 * MSS}
      ${sends(2)}
      +1000 > . ${segment(1)} ack 1
      // The time-out behind a repeated SYN.
      +3000 > . ${segment(0)} ack 1
    `);
  });

  it("PG-127: no second probe before something has been timed (§7.3)", () => {
    const probed = `${OPEN}
      +0    send ${MSS}
      +0    > . ${segment(0)} ack 1
      +300  > . ${segment(0)} ack 1
      // To either transmission, which times nothing; the second arrival ends what the probe was for.
      +100  ${acks(1)}
      +0    ${acks(1, edges(0, 1))}
      +0    send ${2 * MSS}
      ${sends(2, 1)}
    `;
    runScript(`${probed}
      // The time-out, where a probe would have been after 200.
      +300  > . ${segment(1)} ack 1
    `);
    runScript(`${probed}
      +100  ${acks(3)}
      +0    send ${2 * MSS}
      ${sends(2, 3)}
      +200  > . ${segment(4)} ack 1
    `);
  });
});

describe("RFC 2018 §8: a peer that takes back what it said it had", () => {
  it.each([1, 5])("PG-127: gets it again behind a time-out (%i segments)", (many) => {
    runScript(`${OPEN}
      +0    send ${(1 + many) * MSS}
      ${sends(1 + many)}
      +100  ${acks(0, edges(1, 1 + many))}
      ${many > 2 ? "+0" : "+25"}    > . ${segment(0)} ack 1
      +100  ${acks(1)}
      +300  > . ${segment(1)} ack 1
      +100  ${acks(1 + many)}
      +9000 wait
    `);
  });
});
