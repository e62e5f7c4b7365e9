/** The rules of PG-127 as scripts: how connections begin. */
import { describe, expect, it } from "vitest";
import { runScript } from "./script.ts";

describe("opening (RFC 9293 §3.5)", () => {
  it("PG-127: we open: SYN, SYN+ACK, ACK; all options agreed upon", () => {
    runScript(`
      +0   connect
      +0   > S 0:0(0) win 65535 <mss 1240,sackOK,ts 0 ecr 0,wscale 7>
      +20  < S. 0:0(0) ack 1 win 28960 <mss 1240,sackOK,ts 500 ecr 0,wscale 9>
      +0   * opened
      +0   > . 1:1(0) ack 1 win 8192 <ts 20 ecr 500>
    `);
  });

  it("PG-127: a peer that knows none of the options gets none", () => {
    runScript(`
      +0   connect
      +0   > S 0:0(0) <mss 1240,sackOK,ts 0 ecr 0,wscale 7>
      +20  < S. 0:0(0) ack 1 win 1000
      +0   * opened
      +0   > . 1:1(0) ack 1 win 65535 <none>
      +0   send 600
      +0   > . 1:537(536) ack 1 <none>
      +0   > . 537:601(64) ack 1 <none>
    `);
  });

  it("PG-127: passive, with what the peer has", () => {
    runScript(`
      +0   < S 0:0(0) win 65535 <mss 1000>
      +0   > S. 0:0(0) ack 1 win 65535 <mss 1240,none>
      +10  < . 1:1(0) ack 1 win 512
      +0   * opened
      +0   send 1000
      +0   > . 1:513(512) ack 1
      +10  < . 1:1(0) ack 513 win 5000
      +0   > . 513:1001(488) ack 1
    `);
  });

  it("PG-127: both open at once (RFC 9293 figure 7)", () => {
    runScript(`
      +0   connect
      +0   > S 0:0(0) <mss 1240>
      +5   < S 0:0(0) win 1000 <mss 1240>
      +0   > S. 0:0(0) ack 1
      +5   < S. 0:0(0) ack 1 win 1000 <mss 1240>
      +0   * opened
      +0   > . 1:1(0) ack 1
    `);
  });

  it("PG-127: SYN goes out 5 times, each after twice the time, then it is over", () => {
    runScript(`
      +0     connect
      +0     > S 0:0(0)
      +1000  > S 0:0(0)
      +2000  > S 0:0(0)
      +4000  > S 0:0(0)
      +8000  > S 0:0(0)
      +16000 * closed timeout
    `);
  });

  it("PG-127: connecting takes no longer than the application wants", () => {
    runScript(`
      +0     connect {"timeoutMs":2500}
      +0     > S 0:0(0)
      +1000  > S 0:0(0)
      +1500  * closed timeout
    `);
  });

  it("PG-127: the first time-out behind a repeated SYN is 3 s if nothing has been timed (RFC 6298 §5.7)", () => {
    runScript(`
      +0     connect
      +0     > S 0:0(0)
      +1000  > S 0:0(0)
      +10    < S. 0:0(0) ack 1 win 5000 <mss 1240>
      +0     * opened
      +0     > . 1:1(0) ack 1
      +0     send 100
      +0     > . 1:101(100) ack 1
      +3000  > . 1:101(100) ack 1
    `);
  });

  it("PG-127: a time stamp times even a repeated SYN (RFC 7323 §4)", () => {
    runScript(`
      +0     connect
      +0     > S 0:0(0)
      +1000  > S 0:0(0) <ts 1000 ecr 0>
      +10    < S. 0:0(0) ack 1 win 512 <mss 1240,sackOK,ts 9 ecr 1000,wscale 7>
      +0     * opened
      +0     > . 1:1(0) ack 1
      +0     send 100
      +0     > . 1:101(100) ack 1
      +200   > . 1:101(100) ack 1
    `);
  });

  it("PG-124, PG-127: a reset that answers our SYN refuses; one with another number is nothing", () => {
    runScript(`
      +0   connect
      +0   > S 0:0(0)
      +5   < R. 0:0(0) ack 2
      +5   < R 0:0(0)
      +5   < R. 0:0(0) ack 1
      +0   * closed refused
    `);
  });

  it("PG-127: an old SYN+ACK is reset, and the connection goes on (RFC 9293 figure 9)", () => {
    runScript(`
      +0   connect
      +0   > S 0:0(0)
      +5   < S. 500:500(0) ack 7 win 100
      +0   > R 7:7(0)
      +0   > S 0:0(0)
      +5   < S. 0:0(0) ack 1 win 1000 <mss 1240>
      +0   * opened
      +0   > . 1:1(0) ack 1
    `);
  });

  it("PG-127: where the peer still has an old connection, it is reset, and the SYN goes again at once", () => {
    runScript(`
      +0    connect
      +0    > S 0:0(0)
      +5    < . 500:500(0) ack 7 win 100
      +0    > R 7:7(0)
      +0    > S 0:0(0)
      +5    < S. 0:0(0) ack 1 win 1000 <mss 1240>
      +0    * opened
      +0    > . 1:1(0) ack 1
    `);
  });

  it("PG-127: forged acknowledgements make the SYN go again once; then the time-out has to pass", () => {
    runScript(`
      +0    connect
      +0    > S 0:0(0)
      +5    < R. 0:0(0) ack 7
      +5    < . 500:500(0) ack 7 win 100
      +0    > R 7:7(0)
      +0    > S 0:0(0)
      +5    < . 500:500(0) ack 7 win 100
      +0    > R 7:7(0)
      +995  > S 0:0(0)
      +2000 > S 0:0(0)
    `);
  });

  it("PG-127: SYN+ACK is repeated when the SYN is, and an ACK of something else is reset", () => {
    runScript(`
      +0   < S 0:0(0) win 65535 <mss 1000>
      +0   > S. 0:0(0) ack 1
      +500 < S 0:0(0) win 65535 <mss 1000>
      +0   > S. 0:0(0) ack 1
      +5   < . 1:1(0) ack 3
      +0   > R 3:3(0)
      +5   < . 1:1(0) ack 1
      +0   * opened
    `);
  });

  it("PG-127: a half-open connection that is reset is gone", () => {
    const host = runScript(`
      +0   < S 0:0(0) win 65535 <mss 1000>
      +0   > S. 0:0(0) ack 1
      +5   < R 1:1(0)
      +0   * closed refused
    `);
    expect(host.count()).toBe(0);
  });

  it("PG-127: nothing is known of a connection: data are reset, resets are not", () => {
    runScript(`
      +0   < . 5:6(1) ack 70
      +0   > R 0:0(0)
      +0   < R 5:5(0)
    `);
  });
});
