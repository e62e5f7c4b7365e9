/** From a host to addresses of resources (PG-123). */
import { describe, expect, it } from "vitest";
import { formatIp, ip, prefix } from "../../../../src/base/index.ts";
import { TYPE } from "../../../../src/dns/index.ts";
import { type DialParts, dialTarget, resolveHost } from "../../../../src/program/userspace/dial.ts";

const NETWORKS = ["10.77.0.0/16", "fd77::/64"].map(prefix);
const V4 = "10.77.0.9";
const V6 = "fd77::9";

/** A client of two networks, in one of which `v4.corp.example` lies. */
function rig() {
  const dialled: string[] = [];
  const resources = NETWORKS.map((address) => ({
    ...{ isEnabled: true, status: "online", resource: { kind: "cidr", rid: "r1", address } },
  }));
  // Of machine, resolver and sockets this is all that is asked for.
  const parts = {
    machine: { resources: () => resources },
    resourceOfProxy: () => undefined,
    dns: {
      lookup: async (_: string, type: number) => ({
        addresses: type === TYPE.A ? [ip(V4)] : [],
        decision: { kind: "local", rid: "r1" },
      }),
    },
    sockets: {
      connect: async ({ address }: { readonly address: Uint8Array }) => void dialled.push(formatIp(address)),
    },
  } as unknown as DialParts;
  const resolve = async (host: string, family?: 4 | 6): Promise<string[]> =>
    (await resolveHost(parts, host, family)).map(formatIp);
  return { parts, resolve, dialled };
}

describe("an address", () => {
  it.each([
    [V4, undefined],
    [V4, 4],
    [V6, undefined],
    [V6, 6],
  ] as const)("PG-123: %s is taken where family is %s", async (host, family) => {
    expect(await rig().resolve(host, family)).toEqual([host]);
  });

  it.each([
    [V4, 6, 4],
    [V6, 4, 6],
    [`[${V6}]`, 4, 6],
  ] as const)("PG-123: %s is refused where IPv%i is wanted, and not dialled", async (host, family, own) => {
    const { parts, resolve, dialled } = rig();
    const refusal = expect.objectContaining({
      code: "unreachable",
      message: `${host} is an IPv${own} address, and IPv${family} is wanted`,
      hint: `leave family away, or name an address for IPv${family}`,
    });
    await expect(resolve(host, family)).rejects.toEqual(refusal);
    const dial = dialTarget(parts, { host, port: 80, family }, new AbortController().signal);
    await expect(dial).rejects.toEqual(refusal);
    expect(dialled).toEqual([]);
  });

  it("PG-123: outside all resources it is none of them, whatever family is wanted", async () => {
    for (const family of [undefined, 4, 6] as const)
      await expect(rig().resolve("192.0.2.1", family)).rejects.toMatchObject({ code: "not_a_resource" });
  });
});

describe("a name", () => {
  it("PG-123: has the addresses of the wanted family", async () => {
    expect(await rig().resolve("v4.corp.example")).toEqual([V4]);
    expect(await rig().resolve("v4.corp.example", 4)).toEqual([V4]);
  });

  it("PG-123: is unreachable where it has none of that family", async () => {
    await expect(rig().resolve("v4.corp.example", 6)).rejects.toMatchObject({
      code: "unreachable",
      message: "v4.corp.example has no address for IPv6",
    });
  });
});
