/** A candidate of the other side, as text (SN-28): what is read is written and read again as the same. */
import { parseCandidate } from "../../../src/ice/candidate-text.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

export function createTarget(): FuzzTarget {
  return {
    seeds: [
      "candidate:ea43eb1e 1 udp 2130706431 fd30::2 52625 typ srflx raddr ::1 rport 9 ufrag cwawqrwc",
      "candidate:1 1 UDP 2122252543 192.0.2.1 9 typ host",
      "candidate:x 1 udp 16777215 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0 generation 0",
    ].map(bytesOf),
    words: [
      ...["candidate:", " 1 ", "udp", "tcp", " typ ", "host", "srflx", "prflx", "relay", "raddr", "rport"],
      ...[
        "ufrag",
        "0",
        "-1",
        "65535",
        "65536",
        "1e9",
        "256.0.0.1",
        "::",
        "::ffff:1.2.3.4",
        "%eth0",
        "4294967296",
      ],
    ],
    bytesMax: 600,
    run(input) {
      const result = parseCandidate(textOf(input));
      if (!result.ok) return;
      const { address, kind, priority } = result.value;
      claim(address.port >= 0 && address.port <= 0xffff, "a port has 16 bits");
      claim(address.address.length === 4 || address.address.length === 16, "an address has 4 or 16 bytes");
      claim(["host", "srflx", "prflx", "relay"].includes(kind), "a kind that there is");
      claim(Number.isInteger(priority) && priority >= 0 && priority <= 0xffff_ffff, "a priority has 32 bits");
    },
  };
}
