/** What the kernel says by rtnetlink and about packets: it is trusted, but a mistake must not end the program. */
import { parseControl } from "../../../bindings/linux/control-message.ts";
import {
  isAcknowledgement,
  parseAcknowledgement,
  parseAttributes,
  parseMessages,
  toMessageBytes,
  toText,
  toU32,
} from "../../../bindings/linux/netlink-message.ts";
import { parseGeneration } from "../../../bindings/linux/nftables-codec.ts";
import {
  addressRequest,
  linkRequest,
  parseAddress,
  parseLink,
  parseRoute,
  parseRule,
  routeRequest,
  ruleRequest,
} from "../../../bindings/linux/rtnetlink-codec.ts";
import { parseSockaddr } from "../../../bindings/linux/sockaddr.ts";
import { ip, prefix } from "../../../src/base/index.ts";
import { claim, type FuzzTarget } from "../target.ts";

export function createTarget(): FuzzTarget {
  const requests = [
    linkRequest(7, { isUp: true, mtu: 1280 }),
    addressRequest({ index: 7, address: ip("100.64.0.2"), bits: 32 }, true),
    routeRequest(
      { destination: prefix("10.0.0.0/8"), table: 7, protocol: 3, scope: 0, outputIndex: 7 },
      true,
    ),
    ruleRequest({ family: 4, priority: 5, table: 7, isInverted: false, protocol: 3 }, true),
  ];
  return {
    seeds: [
      ...requests.map((request) => toMessageBytes(request, 5, 1)),
      Uint8Array.of(36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, ...new Uint8Array(20)),
      Uint8Array.of(2, 0, 0x0d, 0x96, 192, 0, 2, 1, ...new Uint8Array(8)),
    ],
    words: [16, 20, 24, 28, 32, 24 + 16].map((type) => Uint8Array.of(type, 0, 0, 0)),
    bytesMax: 1024,
    run(input) {
      parseControl(input);
      const address = parseSockaddr(input);
      if (address.ok) claim(address.value.address.length % 12 === 4, "an address has 4 or 16 bytes");
      const messages = parseMessages(input);
      for (const body of messages.ok ? [input, ...messages.value.map((one) => one.body)] : [input]) {
        parseLink(body);
        parseAddress(body);
        parseRoute(body);
        parseRule(body);
        parseGeneration(body);
        const attributes = parseAttributes(body);
        for (const value of attributes.ok ? attributes.value.values() : []) {
          toText(value);
          toU32(value);
        }
      }
      for (const message of messages.ok ? messages.value : []) {
        if (isAcknowledgement(message)) parseAcknowledgement(message);
      }
    },
  };
}
