import { expect, it } from "vitest";
import { createUdpSocket } from "../../../../src/program/userspace/udp-socket.ts";

const OWN = { 4: "100.64.0.5", 6: "fd00:2021:1111::5" } as const;
const THEIRS = { 4: "10.77.0.9", 6: "fd77::9" } as const;

function openSocket(family: 4 | 6) {
  const sent: string[] = [];
  const { socket } = createUdpSocket({
    local: { address: OWN[family], port: 40_000 },
    send: (_, { host }) => void sent.push(host),
    release: () => {},
    toAddr: ({ port }) => ({ address: "", port }),
  });
  return { sent, send: (host: string) => socket.send(Uint8Array.of(1), { host, port: 53 }) };
}

it.each([
  [4, 6],
  [6, 4],
] as const)(
  "PG-125: a socket for IPv%i refuses addresses of IPv%i, and sends to its own and to names",
  (own, other) => {
    const { sent, send } = openSocket(own);
    const wanted = [THEIRS[own], `[${THEIRS[own]}]`, "wiki.corp.example"];
    for (const host of [...wanted, ...wanted]) send(host);
    for (const host of [THEIRS[other], THEIRS[other], `[${THEIRS[other]}]`]) {
      expect(() => send(host)).toThrow(
        expect.objectContaining({
          code: "unreachable",
          message: `${host} is an IPv${other} address, and the socket is one for IPv${own}`,
          hint: `open another one: client.udp({ family: ${other} })`,
        }),
      );
    }
    expect(sent).toEqual([...wanted, ...wanted]);
  },
);
