/** The rules of PG-127 as scripts: how connections end. */
import { describe, expect, it } from "vitest";
import { createSeededRandom, instant } from "../../../src/base/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";
import { encodeSegment } from "../../../src/tcp/encode.ts";
import { createTcpHost, FULL_PROFILE, type TcpHost } from "../../../src/tcp/index.ts";
import { parseSegment, type Segment } from "../../../src/tcp/segment.ts";
import { OPEN, OURS, PEER, runScript } from "./script.ts";

describe("ending (RFC 9293 §3.6)", () => {
  it("PG-127: TIME-WAIT lasts 60 s, answers repetitions, begins anew with each, and is deaf to resets", () => {
    const script = `${OPEN}
      +0     send 100
      +0     > . 1:101(100) ack 1
      +0     end
      +0     > F. 101:101(0) ack 1
      +10    < . 1:1(0) ack 102 win 512 <ts 1020 ecr 10>
      +10    < F. 1:1(0) ack 102 win 512 <ts 1030 ecr 10>
      +0     * ended
      +0     * closed done
      +0     > . 102:102(0) ack 2
      +30000 < F. 1:1(0) ack 102 win 512 <ts 1030 ecr 10>
      +0     > . 102:102(0) ack 2 <ts 30030 ecr 1030>
      +0     < R. 2:2(0) ack 102
    `;
    expect(runScript(`${script} +59999 wait`).count()).toBe(1);
    expect(runScript(`${script} +60000 wait`).count()).toBe(0);
  });

  it("PG-127: a FIN that ends what was queued goes with its last octets", () => {
    runScript(
      `${OPEN}
      +0     < . 1:1(0) ack 1 win 5 <ts 1010 ecr 0>
      +0     send 1000
      +10    end
      +0     < . 1:1(0) ack 1 win 512 <ts 1020 ecr 0>
      +0     > F. 1:1001(1000) ack 1
      `,
      { isSuper: true },
    );
  });

  it("PG-127: the peer ends first, and reads on (half-close)", () => {
    const host = runScript(`${OPEN}
      +0     < F. 1:101(100) ack 1 win 512 <ts 1010 ecr 0>
      +0     * data 100
      +0     * ended
      +0     > . 1:1(0) ack 102
      +0     send 200
      +0     > . 1:201(200) ack 102
      +10    < . 102:102(0) ack 201 win 512 <ts 1020 ecr 10>
      +0     end
      +0     > F. 201:201(0) ack 102
      +10    < . 102:102(0) ack 202 win 512 <ts 1030 ecr 20>
      +0     * closed done
    `);
    expect(host.count()).toBe(0);
  });

  it("PG-127: we end first, and read on as long as the peer likes (half-close)", () => {
    runScript(`${OPEN}
      +0       end
      +0       > F. 1:1(0) ack 1
      +10      < . 1:1(0) ack 2 win 512 <ts 1020 ecr 10>
      +3600000 < . 1:11(10) ack 2 win 512 <ts 3601000 ecr 10>
      +0       * data 10
      +40      > . 2:2(0) ack 11
    `);
  });

  it("PG-127: both end at once (RFC 9293 figure 13)", () => {
    const host = runScript(`${OPEN}
      +0     end
      +0     > F. 1:1(0) ack 1
      +5     < F. 1:1(0) ack 1 win 512 <ts 1020 ecr 0>
      +0     * ended
      +0     > . 2:2(0) ack 2
      +5     < . 2:2(0) ack 2 win 512 <ts 1025 ecr 10>
      +0     * closed done
      +0     > . 2:2(0) ack 2
    `);
    expect(host.count()).toBe(1);
  });

  it("PG-127: a FIN that is lost is repeated; one ahead of a gap waits", () => {
    runScript(`${OPEN}
      +0     end
      +0     > F. 1:1(0) ack 1
      +200   > F. 1:1(0) ack 1
      +5     < F. 11:11(0) ack 2 win 512 <ts 1220 ecr 210>
      +0     > . 2:2(0) ack 1
      +5     < . 1:11(10) ack 2 win 512 <ts 1225 ecr 210>
      +0     * data 10
      +0     * ended
      +0     * closed done
      +0     > . 2:2(0) ack 12
    `);
  });

  it("PG-127: data behind the peer's end, and after a reset, come to nobody", () => {
    runScript(`${OPEN}
      +0     < F. 1:1(0) ack 1 win 512 <ts 1010 ecr 0>
      +0     * ended
      +0     > . 1:1(0) ack 2
      +5     < . 2:12(10) ack 1 win 512 <ts 1015 ecr 0>
      +0     < R. 2:2(0) ack 1
      +0     * closed reset
      +0     < . 2:12(10) ack 1 win 512 <ts 1015 ecr 0>
      +0     > R 1:1(0)
    `);
  });

  it("PG-127: abort resets at once, whatever is queued", () => {
    runScript(`${OPEN}
      +0     send 100
      +0     > . 1:101(100) ack 1
      +0     abort
      +0     * closed done
      +0     > R. 101:101(0) ack 1
    `);
  });

  it("PG-127: a newer SYN begins anew in TIME-WAIT, an older one does not (RFC 6191)", () => {
    const waiting = `${OPEN}
      +0     end
      +0     > F. 1:1(0) ack 1
      +5     < F. 1:1(0) ack 2 win 512 <ts 1020 ecr 10>
      +0     * ended
      +0     * closed done
      +0     > . 2:2(0) ack 2
    `;
    const host = runScript(`${waiting}
      +100   < S 0:0(0) win 65535 <mss 1240,sackOK,ts 900 ecr 0>
      +0     > . 2:2(0) ack 2
    `);
    expect(host.counters().time_wait_reused).toBe(0);
    const other = runScript(
      `${waiting}
      +100   < S 0:0(0) win 65535 <mss 1240,sackOK,ts 2000 ecr 0>
      +0     > S. 25115:25115(0) ack 1
    `.replace(/25115/g, String(NEXT_ISS)),
    );
    expect(other.counters().time_wait_reused).toBe(1);
  });

  it("PG-127: of TIME-WAIT there are as many as the profile says; the oldest goes first", () => {
    const script = `${OPEN}
      +0     end
      +0     > F. 1:1(0) ack 1
      +5     < F. 1:1(0) ack 2 win 512 <ts 1020 ecr 10>
      +0     * ended
      +0     * closed done
      +0     > . 2:2(0) ack 2
    `;
    expect(runScript(script, { profile: { ...FULL_PROFILE, timeWaitsMax: 0 } }).count()).toBe(0);
    expect(runScript(script, { profile: { ...FULL_PROFILE, timeWaitsMax: 1 } }).count()).toBe(1);
  });
});

/** A peer's side of connections that we end at once. */
function peerOf(host: TcpHost, port: number) {
  const say = (at: number, given: Partial<Segment>): Segment | undefined => {
    const plain = { isSyn: false, isAck: true, isFin: false, isRst: false, window: 1_000 };
    const segment = { seq: 1, ack: 0, ...plain, payload: new Uint8Array(0), ...given };
    host.handlePacket(instant(at), encodeSegment({ ...PEER, port }, OURS, segment));
    for (let event = host.pollEvent(); event !== undefined; event = host.pollEvent()) {
      if (event.kind === "opened") host.end(instant(at), event.id);
    }
    let last: Segment | undefined;
    for (let packet = host.pollPacket(); packet !== undefined; packet = host.pollPacket()) {
      const read = parseSegment(viewPacket(packet));
      if (read.ok) last = read.value;
    }
    return last;
  };
  return {
    /** Until it is in TIME-WAIT. */
    openAndEnd(at: number): number {
      const first = (say(at, { seq: 0, isSyn: true, isAck: false })?.seq ?? 0) + 1;
      say(at, { ack: first });
      say(at, { ack: first + 1, isFin: true });
      return first + 1;
    },
    repeatEnd: (at: number, ack: number) => say(at, { ack, isFin: true }),
  };
}

it("PG-127: TIME-WAIT of one connection that begins anew does not keep the others", () => {
  const host = createTcpHost({ random: createSeededRandom(1), admit: () => "accept" });
  const [first, second] = [peerOf(host, 1), peerOf(host, 2)];
  const ack = first.openAndEnd(1_000);
  second.openAndEnd(2_000);
  expect(first.repeatEnd(30_000, ack)).toMatchObject({ ack: 2 });
  host.handleTimeout(instant(61_999));
  expect(host.count()).toBe(2);
  expect(host.pollTimeout()).toBe(62_000);
  host.handleTimeout(instant(62_000));
  expect(host.count()).toBe(1);
  host.handleTimeout(instant(90_000));
  expect(host.count()).toBe(0);
});

/** 115 ms later: a number each 4 µs (RFC 6528). */
const NEXT_ISS = 115 * 250;
