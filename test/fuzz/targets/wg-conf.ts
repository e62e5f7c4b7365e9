/** wg-quick's file (WG-63), and what may be set by the status protocol (WG-66, WG-67). */

import { parseWgConfig } from "../../../src/wg/config-file.ts";
import { createUapiReader, parseSet } from "../../../src/wg/uapi.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

const KEY = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const HEX = "7c6cb250fab2df82fe56f459cb20c9a13af44ff6cbf4550267663a9d42ea4553";

const FILE = `# office
[Interface]
PrivateKey = ${KEY}
ListenPort = 51820
FwMark = 0xca6c
Address = 10.0.0.1/24, fd00::1/64
MTU = 1380
Table = auto
DNS = 10.0.0.53, corp.example
PostUp = true %i
[Peer]
PublicKey = ${KEY.replace("fG", "gG")}
PresharedKey = ${KEY}
AllowedIPs = 10.0.0.2/32, ::/0
Endpoint = [2001:db8::7]:51821
PersistentKeepalive = 25
`;
const SET = `set=1
private_key=${HEX}
listen_port=51820
fwmark=0
replace_peers=true
public_key=${HEX}
preshared_key=${HEX}
endpoint=[2001:db8::7]:51820
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.0.0.0/24
allowed_ip=::/0

get=1

`;

export function createTarget(): FuzzTarget {
  return {
    seeds: [FILE, SET].map(bytesOf),
    words: [
      ...["[Interface]\n", "[Peer]\n", "PrivateKey", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint"],
      ...["Address", "ListenPort", "FwMark", "Table", "DNS", "MTU", "SaveConfig", "PreUp", "PostDown", " = "],
      ...["off", "auto", "0", "-1", "65536", "99999999999", "10.0.0.1/33", "::/129", "[", "=", KEY, HEX],
      ...["remove=true\n", "update_only=true\n", "protocol_version=1\n", "\n\n", "get=1\n", "set=1\n"],
    ],
    bytesMax: 3000,
    run(input) {
      const text = textOf(input);
      const result = parseWgConfig(text);
      if (result.ok) claim((result.value.privateKey?.length ?? 32) === 32, "a key has 32 bytes");
      else {
        claim(result.message !== "", "a refusal says why");
        claim(result.line >= 0 && result.line <= text.split("\n").length, "and where");
      }
      const reader = createUapiReader();
      const piece = 1 + (input[0] ?? 0);
      for (let at = 0; at < text.length; at += piece) {
        for (const request of reader.push(text.slice(at, at + piece))) {
          if (request.kind === "set") parseSet(request.lines);
        }
      }
    },
  };
}
