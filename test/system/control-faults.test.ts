/**
 * System calls of the control thread that fail, in the real programs (TS-64): a start that cannot go on says why, has
 * the exit code of PG-14, and leaves the host as it was; a program that runs goes on.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  createFaultyPrograms,
  type FaultyPrograms,
  type HostState,
  lastWords,
  late,
  ROLES,
  type Role,
  struck,
} from "../lib/faulty-programs.ts";
import { echo, eventually, timesOf } from "../lib/observe.ts";
import { OFFICE_V4, OFFICE_V6 } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";

const WITHIN_MS = 20_000;
const timeout = 120_000;
const READY: Readonly<Record<Role, RegExp>> = {
  ...{ wg: /^ready$/m, client: / ready /, gateway: / ready /, relay: / ready / },
};

type Refusal = readonly [faults: string, exit: number, says: RegExp];

/** What ends a start, by the program that shows it. */
const REFUSED: Readonly<Record<Role, readonly Refusal[]>> = {
  wg: [
    [
      "open:1:2",
      8,
      /cannot open \/dev\/net\/tun: no such file or entry \(ENOENT\); load the kernel module tun/,
    ],
    ["ioctl_TUNSETIFF:1:1", 5, /cannot create device wg0: operation not permitted \(EPERM\); run as root/],
    ["ioctl_TUNSETIFF:1:16", 8, /device wg0 is in use: busy \(EBUSY\); stop the program that holds it/],
    ["bind_udp:1:98", 8, /cannot bind UDP port 51820: address in use \(EADDRINUSE\); stop the program/],
    ["setsockopt_udp:1:105", 8, /no UDP sockets available: no buffer space \(ENOBUFS\)/],
    ["RTM_GETLINK:1+1:12", 8, /cannot list links: out of memory \(ENOMEM\)/],
    ["RTM_NEWADDR:1:22", 8, /cannot give wg0 the address 10\.8\.0\.1\/24: invalid argument \(EINVAL\)/],
    ["RTM_NEWROUTE:3:12", 8, /cannot add route ::\/0: out of memory \(ENOMEM\)/],
    ["RTM_NEWRULE:4:12", 8, /cannot add rule for table 254: out of memory \(ENOMEM\)/],
    ["eventfd:2:24", 8, /cannot open an eventfd: too many open files \(EMFILE\)/],
  ],
  client: [
    ["lock_file_writeFileSync:1:28", 8, /cannot write the lock file \S+client\.lock: ENOSPC/],
    ["setsockopt_udp:1:1", 5, /cannot mark a socket: EPERM.*; run as root or grant CAP_NET_ADMIN/],
    ["RTM_NEWADDR:1+1:13", 8, /cannot give tun-postern any address; see the log/],
    ["RTM_GETROUTE:9+1:12", 8, /cannot list routes: out of memory \(ENOMEM\)/],
    ["socket:6+1:24", 8, /cannot open a netlink socket: too many open files \(EMFILE\)/],
  ],
  gateway: [
    ["sysctl:1:30", 8, /cannot set net\.ipv4\.\S+ to 1: EROFS; set it on the host/],
    ["nft:1:11", 8, /cannot run nft: EAGAIN/],
    ["nft:2:12", 8, /cannot run nft: ENOMEM/],
    ["bind_netlink:2:12", 8, /cannot bind a netlink socket: out of memory \(ENOMEM\)/],
  ],
  relay: [
    ["epoll_create1:1:24", 8, /cannot open an epoll descriptor: too many open files \(EMFILE\)/],
    ["bind_udp:1:98", 8, /cannot bind UDP port 3478 for IPv4: address in use \(EADDRINUSE\); another relay/],
    ["setsockopt_udp:3:22", 8, /cannot bind UDP port 3478 for IPv4: invalid argument \(EINVAL\)/],
    ["eventfd:1:24", 8, /cannot open an eventfd: too many open files \(EMFILE\)/],
  ],
};

/** What a start goes on without, and what it says of that. */
const BORNE: Readonly<Record<Role, readonly (readonly [faults: string, says: readonly RegExp[]])[]>> = {
  wg: [
    // Netlink asks again where something is short; a lost answer is no refusal.
    ["write_netlink:3+4:105,read_netlink:5+6:105", [/^ready$/m]],
    ["ioctl_TUNSETOFFLOAD:1+1:22,fcntl_events:1+1:22", [/offloads tun=0x0/]],
  ],
  client: [
    [
      "RTM_NEWRULE:1:12,NFT:1:95,resolv_conf:1+1:28,fcntl_events:1+1:22,setsockopt_netlink:1+1:92",
      [
        / WARN .*rule refused/,
        / INFO .*packets are not kept from leaving past the tunnel/,
        / ERROR .*the file of DNS servers cannot be written: tried again in 30 s/,
      ],
    ],
  ],
  gateway: [["NFT:1:12", [/ WARN .*packets may leave past the tunnel: tried again/]]],
  relay: [["setsockopt_udp:4+1:92,sysctl:1+1:30", [/ ready /]]],
};

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "calls of control that fail", () => {
  let programs: FaultyPrograms;
  let untouched: ReadonlyMap<Role, HostState>;
  beforeAll(async () => {
    programs = await createFaultyPrograms();
    programs.office.configure([{ resource: "Office" }, { resource: "Office6" }]);
    await programs.office.startPortal();
    untouched = new Map(
      await Promise.all(ROLES.map(async (role) => [role, await programs.stateOf(role)] as const)),
    );
  });
  afterAll(() => programs?.close());

  const expectUntouched = async (role: Role, where: string): Promise<void> =>
    expect(await programs.stateOf(role), where).toEqual(untouched.get(role));

  /** Each on its own machine. */
  const ofEachRole = (act: (role: Role) => Promise<void>): Promise<unknown> => Promise.all(ROLES.map(act));

  it(
    "TS-64, PG-9, PG-14: a start that is refused says why, has its exit code and undoes everything",
    {
      timeout,
    },
    () =>
      ofEachRole(async (role) => {
        for (const [faults, exit, says] of REFUSED[role]) {
          const program = programs.start(role, faults);
          const { status } = await program.wait(WITHIN_MS);
          expect(struck(program), faults).not.toEqual([]);
          expect({ status, words: lastWords(program) }, faults).toEqual({
            status: exit,
            words: [expect.stringMatching(says)],
          });
          await expectUntouched(role, faults);
        }
      }),
  );

  it(
    "TS-64: a start goes on without what it can do without, and leaves nothing either",
    {
      timeout,
    },
    () =>
      ofEachRole(async (role) => {
        for (const [faults, says] of BORNE[role]) {
          const program = programs.start(role, faults, "--log", "info");
          await program.waitForLine(READY[role], {
            withinMs: WITHIN_MS,
            stream: role === "wg" ? "stdout" : "stderr",
          });
          await eventually(() => {
            const said = `${program.stdout()}${program.stderr()}`;
            for (const one of says) expect(said, faults).toMatch(one);
          });
          expect(struck(program), faults).not.toEqual([]);
          expect(await program.stop(), program.stderr()).toMatchObject({ status: 0 });
          await expectUntouched(role, faults);
        }
      }),
  );

  /** Of what comes again and again some calls fail, of each kind. */
  const BUSY = [
    "read_events:1+3:105,read_events:2+5:12",
    "read_netlink:4+17:105,write_netlink:3+13:105",
    "RTM_GETROUTE:2+6:12,RTM_GETLINK:3+5:16",
    "sendmsg:2+3:11,sendmsg:4+5:105,sendmsg:7+9:1,sendmsg:9+11:101",
    "connect_udp:2+3:101,poll:3+4:4",
  ].join();
  const BUSY_KINDS = [
    "read_events",
    "read_netlink",
    "write_netlink",
    "RTM_GETROUTE",
    "RTM_GETLINK",
    "sendmsg",
  ];

  it("TS-64, PG-36, PG-46, PG-153: under traffic, changes and resets both ends go on, and keep the host", {
    timeout,
  }, async () => {
    const { office } = programs;
    const ends = (["client", "gateway"] as const).map((role) => programs.start(role, late(BUSY)));
    for (const end of ends) await end.waitForLine(/ ready /, { withinMs: WITHIN_MS, stream: "stderr" });
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"));
    const asSetUp = await programs.stateOf("client");
    for (const role of ["client", "gateway"] as const) programs.begin(role);
    let isOver = false;
    const changing = changeOthers(programs, () => isOver);
    for (const bytes of [4_000_000, 8_000_000]) {
      const { sent, received } = await transfer(office.client, office.resource, {
        ...{ protocol: "tcp", to: OFFICE_V4, bytes },
      });
      expect(received).toBe(sent);
      for (const end of ends) end.signal("SIGHUP");
    }
    isOver = true;
    await changing;
    // What others took away meanwhile is there again.
    await office.client.ip("rule del pref 100", "route del 172.20.0.0/16 dev tun-postern table 539098624");
    await eventually(async () => expect(await programs.stateOf("client")).toEqual(asSetUp), 20_000);
    for (const to of [OFFICE_V4, OFFICE_V6])
      await eventually(async () => expect(await echo(office.client, to), to).toBe("answered"), 20_000);
    for (const end of ends) expect(await end.stop(), end.stderr().slice(-2000)).toMatchObject({ status: 0 });
    const kinds = ends.flatMap(struck).join(" ");
    for (const kind of BUSY_KINDS) expect(kinds, kind).toContain(kind);
    for (const role of ["client", "gateway"] as const) await expectUntouched(role, "a clean stop");
  });

  it("TS-64, PG-210: a kernel that lists nothing any more is told as a WARN; rules go all the same at the end", {
    timeout,
  }, async () => {
    const { office } = programs;
    const gateway = programs.start("gateway", "call:999999:1");
    const client = programs.start(
      "client",
      late("RTM_GETLINK:1+1:12,RTM_GETROUTE:1+1:12,RTM_GETRULE:1+1:12"),
    );
    for (const end of [client, gateway])
      await end.waitForLine(/ ready /, { withinMs: WITHIN_MS, stream: "stderr" });
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"));
    programs.begin("client");
    await office.client.ip(
      "link add others type veth peer name far",
      "link set others up",
      "link del others",
    );
    const isTold = (what: RegExp): void => expect(timesOf(client, what).length).toBeGreaterThan(0);
    await eventually(() => isTold(/ WARN .*the host's network cannot be read: tried again/));
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"));
    expect(await client.stop(), client.stderr().slice(-2000)).toMatchObject({ status: 0 });
    await gateway.stop();
    const { links, addresses, rules, nftTables, resolvConf } = await programs.stateOf("client");
    expect(untouched.get("client")).toMatchObject({ links, addresses, rules, nftTables, resolvConf });
  });
});

/** Somebody else changes links, addresses, routes and rules of the client's host. */
async function changeOthers({ office }: FaultyPrograms, isOver: () => boolean): Promise<void> {
  const { client } = office;
  while (!isOver()) {
    await client.ip(
      "link add others type veth peer name far",
      "addr add 192.0.2.77/24 dev others",
      "link set others up",
      "route add 198.18.0.0/24 dev others",
      "rule add to 198.18.0.0/24 lookup main pref 900",
      "rule del pref 900",
      "link del others",
    );
  }
}
