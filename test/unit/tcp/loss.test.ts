/** The rules of PG-127 as scripts: what is lost, how it is noticed, and how fast we are behind it. */
import { describe, it } from "vitest";
import { OPEN, runScript } from "./script.ts";

const MSS = 1_228;
/** The numbers of segment `i`, counted from 0. */
const segment = (i: number, many = 1): string => `${1 + i * MSS}:${1 + (i + many) * MSS}(${many * MSS})`;
const edges = (from: number, to: number): string => `${1 + from * MSS}:${1 + to * MSS}`;
/** So many segments go out at once. */
const sends = (many: number, first = 0): string =>
  Array.from({ length: many }, (_, i) => `+0 > . ${segment(first + i)} ack 1`).join("\n");

describe("the retransmission time-out (RFC 6298)", () => {
  it("PG-127: 200 ms at least, twice as long each time, 60 s at most, 15 times", () => {
    const waits = Array.from({ length: 15 }, (_, i) => Math.min(60_000, 200 * 2 ** i));
    runScript(`${OPEN}
      +0    send 100
      +0    > . 1:101(100) ack 1
      // The probe of the tail takes the place of the first.
      +200  > . 1:101(100) ack 1
      ${waits.map((ms) => `+${ms} > . 1:101(100) ack 1`).join("\n")}
      +60000 * closed timeout
      +0    > R. 101:101(0) ack 1
    `);
  });

  it("PG-127: an acknowledgement of new data begins it anew (§5.3), and ends the doubling", () => {
    runScript(`${OPEN}
      +0    send 100
      +0    > . 1:101(100) ack 1
      +200  > . 1:101(100) ack 1
      +200  > . 1:101(100) ack 1
      +400  > . 1:101(100) ack 1
      +10   < . 1:1(0) ack 101 win 512 <ts 1900 ecr 810>
      +0    send 100
      +0    > . 101:201(100) ack 1
      +200  > . 101:201(100) ack 1
    `);
  });

  it("PG-127: what was sent twice is not timed without time stamps (Karn)", () => {
    runScript(`
      +0    < S 0:0(0) win 65535 <mss 1240>
      +0    > S. 0:0(0) ack 1
      +500  < . 1:1(0) ack 1
      +0    * opened
      +0    send 100
      +0    > . 1:101(100) ack 1
      // 500 + 4 × 250 of the handshake.
      +1500 > . 1:101(100) ack 1
      +10   < . 1:1(0) ack 101
      +0    send 100
      +0    > . 101:201(100) ack 1
      // 10 ms would have been a sample of 1,135: the time-out stays doubled until something is timed.
      +3000 > . 101:201(100) ack 1
    `);
  });

  it("PG-127: one segment goes first, then two for each that arrives (RFC 5681 §3.1)", () => {
    runScript(`${OPEN}
      +0    send ${4 * MSS}
      ${sends(4)}
      // The tail is probed first.
      +20   > . ${segment(3)} ack 1
      +200  > . ${segment(0)} ack 1
      +10   < . 1:1(0) ack ${1 + MSS} win 512 <ts 1250 ecr 230>
      +0    > . ${segment(1)} ack 1
      +0    > . ${segment(2)} ack 1
      +10   < . 1:1(0) ack ${1 + 3 * MSS} win 512 <ts 1260 ecr 240>
      +0    > . ${segment(3)} ack 1
    `);
  });

  it("PG-127: a time-out that was none is undone: the answer is to what was sent before (RFC 3522)", () => {
    runScript(
      `${OPEN}
      +0    send ${10 * MSS}
      ${sends(10)}
      +20   > . ${segment(9)} ack 1
      +200  > . ${segment(0)} ack 1
      // Late, but to the first transmission.
      +10   < . 1:1(0) ack ${1 + 2 * MSS} win 512 <ts 1250 ecr 10>
      +10   < . 1:1(0) ack ${1 + 10 * MSS} win 512 <ts 1260 ecr 10>
      +1000 wait
    `,
    );
  });
});

describe("RACK-TLP (RFC 8985)", () => {
  it("PG-127: a segment is lost a quarter of the round trip after one sent later has arrived", () => {
    runScript(`${OPEN}
      +0    send ${3 * MSS}
      ${sends(3)}
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack ${edges(1, 2)}>
      // 2.5 ms, and deadlines are whole milliseconds.
      +3    > . ${segment(0)} ack 1
    `);
  });

  it("PG-127: with three of them it is lost at once, as long as nothing came out of order before", () => {
    runScript(`${OPEN}
      +0    send ${5 * MSS}
      ${sends(5)}
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack ${edges(1, 4)}>
      +0    > . ${segment(0)} ack 1
    `);
  });

  it("PG-127: what is only late is not sent again", () => {
    runScript(`${OPEN}
      +0    send ${3 * MSS}
      ${sends(3)}
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack ${edges(1, 2)}>
      +2    < . 1:1(0) ack ${1 + 3 * MSS} win 512 <ts 1022 ecr 10>
      +1000 wait
    `);
  });

  it("PG-127: after reordering three do not suffice, and DSACK widens the patience (§6.2 step 4)", () => {
    runScript(`${OPEN}
      +0    send ${5 * MSS}
      ${sends(5)}
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack ${edges(1, 2)}>
      +2    < . 1:1(0) ack ${1 + 2 * MSS} win 512 <ts 1022 ecr 10>
      +0    < . 1:1(0) ack ${1 + 2 * MSS} win 512 <ts 1022 ecr 10,sack ${edges(3, 5)}>
      +3    > . ${segment(2)} ack 1
      +10   < . 1:1(0) ack ${1 + 5 * MSS} win 512 <ts 1040 ecr 10,sack ${edges(2, 3)}>
      +0    send ${2 * MSS}
      ${sends(2, 5)}
      +10   < . 1:1(0) ack ${1 + 5 * MSS} win 512 <ts 1050 ecr 35,sack ${edges(6, 7)}>
      // Two quarters of 10 ms now; before it was one.
      +5    > . ${segment(5)} ack 1
    `);
  });

  it("PG-127: the example of §3.4: a tail, the probe of it, and a lost retransmission", () => {
    runScript(`${OPEN}
      +0    send ${4 * MSS}
      ${sends(4)}
      +10   < . 1:1(0) ack ${1 + MSS} win 512 <ts 1020 ecr 10>
      +20   > . ${segment(3)} ack 1
      +10   < . 1:1(0) ack ${1 + MSS} win 512 <ts 1050 ecr 40,sack ${edges(3, 4)}>
      +0    > . ${segment(1)} ack 1
      +0    > . ${segment(2)} ack 1
      // The retransmission of P1 is lost: P2's, sent behind it, tells.
      +10   < . 1:1(0) ack ${1 + MSS} win 512 <ts 1060 ecr 50,sack ${edges(2, 4)}>
      +0    > . ${segment(1)} ack 1
      +10   < . 1:1(0) ack ${1 + 4 * MSS} win 512 <ts 1070 ecr 60>
      +9000 wait
    `);
  });

  it("PG-127: a single segment is probed later, since its acknowledgement may be delayed", () => {
    runScript(
      `
      +0    < S 0:0(0) win 65535 <mss 1240,sackOK,ts 1000 ecr 0,wscale 7>
      +0    > S. 0:0(0) ack 1
      +100  < . 1:1(0) ack 1 win 512 <ts 1010 ecr 0>
      +0    * opened
      +0    send 100
      +0    > . 1:101(100) ack 1
      // The RTO of 300 ms comes before the 400 of the probe, which takes its place, and puts it off.
      +300  > . 1:101(100) ack 1
      +300  > . 1:101(100) ack 1
      +600  > . 1:101(100) ack 1
      `,
    );
  });

  it("PG-127: new data are the better probe", () => {
    runScript(`${OPEN}
      +0    send ${11 * MSS}
      ${sends(10)}
      +20   > . ${segment(10)} ack 1
    `);
  });

  it("PG-127: a probe that mended a loss by itself lowers the window, one that came twice does not (§7.4)", () => {
    const probed = `${OPEN}
      +0    send ${10 * MSS}
      ${sends(10)}
      +10   < . 1:1(0) ack ${1 + 9 * MSS} win 512 <ts 1020 ecr 10>
      // A single one is under way: its acknowledgement may be held back.
      +200  > . ${segment(9)} ack 1
    `;
    // It shows with the first acknowledgement behind the probe: 18 are under way, and the window was 19.
    const next = (dsack: string, many: number): void => {
      runScript(`${probed}
        +10   < . 1:1(0) ack ${1 + 10 * MSS} win 512 <ts 1240 ecr 220${dsack}>
        +0    send ${21 * MSS}
        ${sends(19, 10)}
        +10   < . 1:1(0) ack ${1 + 11 * MSS} win 512 <ts 1250 ecr 230>
        ${sends(many, 29)}
      `);
    };
    next(`,sack ${edges(9, 10)}`, 2);
    next("", 0);
  });

  it("PG-127: without SACK three duplicates tell, and a part of an acknowledgement (RFC 6582)", () => {
    const duplicate = "+0 < . 1:1(0) ack 1 win 60000";
    runScript(
      `
      +0    < S 0:0(0) win 60000 <mss 1000>
      +0    > S. 0:0(0) ack 1
      +10   < . 1:1(0) ack 1 win 60000
      +0    * opened
      +0    send 6000
      ${Array.from({ length: 6 }, (_, i) => `+0 > . ${1 + i * 1000}:${1001 + i * 1000}(1000) ack 1`).join("\n")}
      +10   < . 1:1(0) ack 1 win 60000
      ${duplicate}
      ${duplicate}
      +0    > . 1:1001(1000) ack 1
      +10   < . 1:1(0) ack 3001 win 60000
      +0    > . 3001:4001(1000) ack 1
      +10   < . 1:1(0) ack 6001 win 60000
      +9000 wait
    `,
    );
  });
});

describe("congestion (RFC 5681, RFC 6928)", () => {
  it("PG-127: ten segments at first; each that arrives makes room for two", () => {
    runScript(`${OPEN}
      +0    send ${30 * MSS}
      ${sends(10)}
      +10   < . 1:1(0) ack ${1 + 2 * MSS} win 512 <ts 1020 ecr 10>
      ${sends(4, 10)}
    `);
  });

  it("PG-127: after an idle time longer than the RTO it is ten again", () => {
    const again = (idleMs: number, many: number): void => {
      runScript(`${OPEN}
        +0    send ${10 * MSS}
        ${sends(10)}
        +10   < . 1:1(0) ack ${1 + 10 * MSS} win 512 <ts 1020 ecr 10>
        +${idleMs} send ${20 * MSS}
        ${sends(many, 10)}
      `);
    };
    again(150, 20);
    again(300, 10);
  });

  it("PG-127: one segment at first if the SYN had to be sent three times", () => {
    runScript(`
      +0     connect
      +0     > S 0:0(0)
      +1000  > S 0:0(0)
      +2000  > S 0:0(0)
      +10    < S. 0:0(0) ack 1 win 60000 <mss 1240>
      +0     * opened
      +0     > . 1:1(0) ack 1
      +0     send 5000
      +0     > . 1:1241(1240) ack 1
    `);
  });
});
