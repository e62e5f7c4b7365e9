/** The rules of PG-127 as scripts: acknowledgements, windows, probes, super-segments. */
import { describe, expect, it } from "vitest";
import { FULL_PROFILE } from "../../../src/tcp/index.ts";
import { OPEN, runScript } from "./script.ts";

describe("acknowledgements (RFC 9293 §3.8.6.3, RFC 5681 §4.2)", () => {
  it("PG-127: one segment is acknowledged after 40 ms, every second full one at once", () => {
    runScript(`${OPEN}
      +0   < . 1:101(100) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 100
      +40  > . 1:1(0) ack 101
      +0   < . 101:1329(1228) ack 1 win 512 <ts 1050 ecr 0>
      +0   * data 1228
      +5   < . 1329:2557(1228) ack 1 win 512 <ts 1055 ecr 0>
      +0   * data 1228
      +0   > . 1:1(0) ack 2557
    `);
  });

  it("PG-127: data of ours carry the acknowledgement that waits", () => {
    runScript(`${OPEN}
      +0   < . 1:101(100) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 100
      +10  send 5
      +0   > . 1:6(5) ack 101
    `);
  });

  it("PG-127: gaps are told of at once, by SACK, the newest block first (RFC 2018 §4)", () => {
    runScript(`${OPEN}
      +0   < . 1001:2001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 1001:2001>
      +0   < . 5001:6001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 5001:6001 1001:2001>
      +0   < . 3001:4001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 3001:4001 5001:6001 1001:2001>
      +0   < . 2001:3001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 1001:4001 5001:6001>
      +0   < . 1:1001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 1000
      +0   * data 1000
      +0   * data 1000
      +0   * data 1000
      +0   > . 1:1(0) ack 4001 <sack 5001:6001>
    `);
  });

  it("PG-127: what comes twice is told of by DSACK (RFC 2883)", () => {
    runScript(`${OPEN}
      +0   < . 1:1001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 1000
      +0   < . 1:1001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1001 <sack 1:1001>
      +0   < . 2001:3001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1001 <sack 2001:3001>
      +0   < . 2001:3001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1001 <sack 2001:3001 2001:3001>
    `);
  });

  it("PG-127: overlapping segments give each octet once", () => {
    runScript(`${OPEN}
      +0   < . 501:1501(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 501:1501>
      +0   < . 1:1001(1000) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 1000
      +0   * data 500
      +0   > . 1:1(0) ack 1501
    `);
  });

  it("PG-127: pieces out of order are kept up to a number, and dropped beyond", () => {
    const profile = { ...FULL_PROFILE, outOfOrderMax: 1 };
    const host = runScript(
      `${OPEN}
      +0   < . 1001:1101(100) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 1001:1101>
      +0   < . 2001:2101(100) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 1 <sack 1001:1101>
      `,
      { profile },
    );
    expect(host.counters().out_of_order_full).toBe(1);
  });
});

describe("windows (RFC 9293 §3.8.6)", () => {
  const small = { ...FULL_PROFILE, receiveBufferBytes: 65_536 };

  it("PG-127: the window never shrinks, closes where nobody reads, and opens in steps that are worth it", () => {
    const segment = (i: number, win: number): string => `
      +0   < . ${1 + i * 8192}:${8193 + i * 8192}(8192) ack 1 win 512 <ts 1010 ecr 0>
      +0   * data 8192
      +0   > . 1:1(0) ack ${8193 + i * 8192} win ${win}
    `;
    runScript(
      `${OPEN}
      ${Array.from({ length: 8 }, (_, i) => segment(i, (65_536 - (i + 1) * 8192) / 128)).join("")}
      +0   < . 65537:65538(1) ack 1 win 512 <ts 1010 ecr 0>
      +0   > . 1:1(0) ack 65537 win 0
      +10  take 1000
      +10  take 8192
      +0   > . 1:1(0) ack 65537 win 71
      `,
      { profile: small },
    );
  });

  it("PG-127: a closed window is probed as the RTO grows; an answer that it is still closed keeps it going", () => {
    runScript(`${OPEN}
      +0    < . 1:1(0) ack 1 win 0 <ts 1010 ecr 0>
      +0    send 100
      +200  > . 0:0(0) ack 1
      +5    < . 1:1(0) ack 1 win 0 <ts 1215 ecr 210>
      +395  > . 0:0(0) ack 1
      +800  > . 0:0(0) ack 1
      +1600 > . 0:0(0) ack 1
      +5    < . 1:1(0) ack 1 win 10 <ts 4000 ecr 3000>
      +0    > . 1:101(100) ack 1
    `);
  });

  it("PG-127: 15 probes without an answer end the connection", () => {
    const waits = Array.from({ length: 15 }, (_, i) => Math.min(60_000, 200 * 2 ** i));
    runScript(`${OPEN}
      +0    < . 1:1(0) ack 1 win 0 <ts 1010 ecr 0>
      +0    send 100
      ${waits.map((ms) => `+${ms} > . 0:0(0) ack 1`).join("\n")}
      +60000 * closed timeout
      +0    > R. 1:1(0) ack 1
    `);
  });

  it("PG-127: a silly little window is not used at once, but not left alone for ever", () => {
    runScript(`${OPEN}
      +0    < . 1:1(0) ack 1 win 0 <ts 1010 ecr 0>
      +0    send 5000
      +10   < . 1:1(0) ack 1 win 2 <ts 1020 ecr 0>
      +190  > . 1:257(256) ack 1
      +10   < . 1:1(0) ack 257 win 20 <ts 1230 ecr 210>
      +0    > . 257:1485(1228) ack 1
      +0    > . 1485:2713(1228) ack 1
    `);
  });

  it("PG-127: the application is told to wait, and that it may go on", () => {
    const profile = { ...FULL_PROFILE, sendBufferBytes: 4_000, sendBufferMostBytes: 4_000 };
    runScript(
      `${OPEN}
      +0    send 5000
      +0    taken 4000
      +0    > . 1:1229(1228) ack 1
      +0    > . 1229:2457(1228) ack 1
      +0    > . 2457:3685(1228) ack 1
      +0    > . 3685:4001(316) ack 1
      +10   < . 1:1(0) ack 901 win 512 <ts 1020 ecr 10>
      +0    < . 1:1(0) ack 1229 win 512 <ts 1020 ecr 10>
      +0    * writable
      `,
      { profile },
    );
  });

  it("PG-127: small segments do not wait for others (Nagle off)", () => {
    runScript(`${OPEN}
      +0    send 10
      +0    > . 1:11(10) ack 1
      +1    send 10
      +0    > . 11:21(10) ack 1
    `);
  });

  it("PG-127: urgent data are data", () => {
    runScript(`${OPEN}
      +0    < U. 1:11(10) ack 1 win 512 <ts 1010 ecr 0>
      +0    * data 10
      +40   > . 1:1(0) ack 11
    `);
  });
});

describe("keep-alive (RFC 9293 §3.8.4)", () => {
  it("PG-127: asks a silent peer, and gives up after nine", () => {
    runScript(`${OPEN}
      +0    keepalive 1000
      +1000 > . 0:0(0) ack 1
      +5    < . 1:1(0) ack 1 win 512 <ts 2015 ecr 1010>
      ${"+1000 > . 0:0(0) ack 1\n".repeat(9)}
      +1000 * closed timeout
      +0    > R. 1:1(0) ack 1
    `);
  });

  it("PG-127: is off by default, and asks every 75 s at most", () => {
    runScript(`${OPEN} +86400000 wait`);
    runScript(`${OPEN}
      +0      keepalive 7200000
      +7200000 > . 0:0(0) ack 1
      +75000  > . 0:0(0) ack 1
    `);
  });
});

describe("super-segments", () => {
  it("PG-127: one frame carries what the window allows, in whole packets, and says where to split it", () => {
    runScript(
      `${OPEN}
      +0    send 20000
      +0    > . 1:12281(12280) ack 1 gso 1228
      +10   < . 1:1(0) ack 12281 win 512 <ts 1020 ecr 10>
      +0    > . 12281:20001(7720) ack 1 gso 1228
      `,
      { isSuper: true },
    );
  });

  it("PG-127: what was lost goes again in one frame, too", () => {
    runScript(
      `${OPEN}
      +0    send 12280
      +0    > . 1:12281(12280) ack 1 gso 1228
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack 4913:12281>
      +0    > . 1:4913(4912) ack 1 gso 1228
      `,
      { isSuper: true },
    );
  });
});
