/** Control events inside the tunnel (TN-40 to TN-44): JSON of the peer in an IPv6 packet. */
import { ip } from "../../../src/base/index.ts";
import {
  encodeAssignedIps,
  encodeDomainStatus,
  encodeGoodbye,
  parseControlEvent,
} from "../../../src/packet/index.ts";
import { claim, type FuzzTarget } from "../target.ts";

const rid = "7c6cb250-fab2-4f82-8e56-f459cb20c9a1";

export function createTarget(): FuzzTarget {
  return {
    seeds: [
      encodeGoodbye(),
      encodeDomainStatus({ rid, domain: "www.example.com", isActive: true }),
      encodeAssignedIps({
        ...{ rid, domain: "www.example.com" },
        proxies: [ip("100.96.0.1"), ip("fd00:2021:1111:8000::1")],
      }),
    ],
    words: [
      ...[
        '"resource":',
        '"domain":',
        '"proxy_ips":',
        '"status":',
        '"Active"',
        "[]",
        "{}",
        "null",
        "\\u0000",
        rid,
      ],
      ...[
        '"__proto__":',
        "1e999",
        '"::ffff:1.2.3.4"',
        '"1.2.3"',
        "[[[[[[[[",
        Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0),
      ],
    ],
    bytesMax: 1400,
    mend(input) {
      const bytes = Uint8Array.from(input);
      if (bytes.length > 40) bytes.set([(bytes.length - 40) >> 8, (bytes.length - 40) & 0xff], 4);
      return bytes;
    },
    run(input) {
      const event = parseControlEvent(input);
      if (!event.ok || event.value.kind === "goodbye") return;
      const { value } = event;
      claim(
        /^[\x21-\x7e]+$/.test(value.domain) && value.domain === value.domain.toLowerCase(),
        "a folded name",
      );
      const again = parseControlEvent(
        value.kind === "assigned-ips" ? encodeAssignedIps(value) : encodeDomainStatus(value),
      );
      claim(
        again.ok && JSON.stringify(again.value) === JSON.stringify(value),
        "written again it is the same",
      );
    },
  };
}
