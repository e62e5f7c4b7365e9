/** Files of resolvers and what resolvectl prints (DN-46, DN-103 to DN-107); ours names only sentinels. */
import { ip } from "../../../src/base/index.ts";
import {
  ownersIn,
  recoverOriginal,
  serversIn,
  serversInResolvectl,
  toOurText,
} from "../../../src/host/resolv-conf.ts";
import { addressesInHosts, namesToTry, parseResolvConf } from "../../../src/host/resolver-files.ts";
import { parseNames } from "../../../src/program/dns/names-file.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

const SENTINEL = ip("100.100.111.1");
const WANTED = { servers: [SENTINEL], searchDomain: "corp" };
const OWNER = { instance: "client", process: 1, startedAt: 1, wanted: WANTED };

export function createTarget(): FuzzTarget {
  return {
    seeds: [
      "# a\nnameserver 192.0.2.1\nsearch a b\noptions ndots:2 trust-ad timeout:1\nnameserver fe80::1%eth0\n",
      "Link 2 (eth0): 192.0.2.1 [2001:db8::1]:53#x fe80::1%eth0\nGlobal: 9.9.9.9\n",
      "127.0.0.1 localhost\n::1 localhost ip6-localhost\n192.0.2.7 www.example.com www # x\n",
      '{"version":1,"records":[{"domain":"a","rid":"r","ips":["100.96.0.1"]}]}',
      toOurText("nameserver 192.0.2.1\n", [OWNER, { ...OWNER, instance: "other" }], "/b"),
    ].map(bytesOf),
    words: [
      ...[
        "nameserver ",
        "search ",
        "domain ",
        "options ",
        "ndots:5",
        "ndots:99",
        "trust-ad",
        "100.100.111.1",
      ],
      ...["%eth0", "#", ";", "\t", "\r\n", "Link 3 (", "): ", "Global:", "[::1]:53", ":54", "localhost"],
    ],
    bytesMax: 2000,
    run(input) {
      const text = textOf(input);
      const ours = toOurText(text, [OWNER], "/b");
      const servers = serversIn(ours);
      claim(ownersIn(ours).length === 1, "whose it is can be read");
      ownersIn(text);
      claim(servers.length === 1 && String(servers[0]?.address) === String(SENTINEL), "one sentinel");
      const isSentinel = (address: Uint8Array): boolean => String(address) === String(SENTINEL);
      claim(serversIn(recoverOriginal(ours, isSentinel)).length === 0, "none of it stays");
      serversInResolvectl(text);
      const settings = parseResolvConf(text);
      claim(namesToTry("www", settings).length >= 1, "a name is tried");
      for (const address of addressesInHosts(text, "localhost"))
        claim(address.length % 12 === 4, "an address");
      parseNames(text);
    },
  };
}
