import { afterEach, beforeEach, expect, it } from "vitest";
import {
  errnoName,
  interfaceIndex,
  OFFLOADS_ALL,
  OFFLOADS_TCP,
  openEventFd,
  openKernel,
  openTun,
  POLLIN,
  pollOne,
} from "../../bindings/linux/index.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, ipJson, type OwnNamespace } from "./own-namespace.ts";

describeWith(["netns", "tun"], "TUN device", () => {
  const kernel = openKernel();
  let host: OwnNamespace;
  beforeEach(() => {
    host = createNamespace();
  });
  afterEach(() => host.close());

  it("PG-28: opens with virtio headers and every offload; closing removes it", () => {
    const tun = host.enter(() => openTun(kernel, { name: "pt0" }));
    expect(tun).toMatchObject({ name: "pt0", offloads: OFFLOADS_ALL, hasVnetHeader: true });
    const [link] = ipJson(host, "-d", "link", "show", "pt0");
    expect(link).toMatchObject({ ifindex: tun.index, linkinfo: { info_kind: "tun" } });
    expect(link?.["linkinfo"]).toMatchObject({
      info_data: { type: "tun", pi: false, vnet_hdr: true, persist: false },
    });
    tun.close();
    expect(host.enter(() => interfaceIndex(kernel, "pt0"))).toBeUndefined();
  });

  it.each([
    { wanted: [OFFLOADS_ALL], accepted: 0x67 },
    { wanted: [OFFLOADS_TCP], accepted: 0x07 },
    { wanted: [0x01], accepted: 0x01 },
    // Unknown bits, and segmentation without checksums: refused by the kernel (PF-30).
    { wanted: [0x167, OFFLOADS_TCP], accepted: 0x07 },
    { wanted: [0x167, 0x06], accepted: 0 },
    { wanted: [], accepted: 0 },
  ])("PG-28: of the offload sets $wanted it takes $accepted", ({ wanted, accepted }) => {
    const tun = host.enter(() => openTun(kernel, { name: "pt0", offloads: wanted }));
    expect(tun.offloads).toBe(accepted);
    tun.close();
  });

  it("PG-29: a device that a process holds is in use", () => {
    const tun = host.enter(() => openTun(kernel, { name: "pt0" }));
    expect(() => host.enter(() => openTun(kernel, { name: "pt0" }))).toThrow("device pt0 is in use");
    tun.close();
    host.enter(() => openTun(kernel, { name: "pt0" })).close();
  });

  it("PG-28, PG-29, PG-176: a device of several queues that a process has is in use, and keeps its queues", () => {
    const tun = host.enter(() => openTun(kernel, { name: "pt0", queues: 3 }));
    expect(tun).toMatchObject({ offloads: OFFLOADS_ALL, hasVnetHeader: true });
    expect(tun.others).toHaveLength(2);
    const queues = () => ipJson(host, "-d", "link", "show", "pt0")[0]?.["linkinfo"];
    expect(queues()).toMatchObject({ info_data: { multi_queue: true, numqueues: 3 } });
    for (const wanted of [1, 3]) {
      expect(() => host.enter(() => openTun(kernel, { name: "pt0", queues: wanted }))).toThrow(
        "device pt0 is in use",
      );
    }
    expect(queues()).toMatchObject({ info_data: { numqueues: 3 } });
    tun.close();
    expect(host.enter(() => interfaceIndex(kernel, "pt0"))).toBeUndefined();
  });

  it("PG-29: a device of another kind is in use", () => {
    host.run("ip", "link", "add", "pt0", "type", "veth", "peer", "name", "pt1");
    expect(() => host.enter(() => openTun(kernel, { name: "pt0" }))).toThrow("device pt0 is in use");
    expect(ipJson(host, "-d", "link", "show", "pt0")[0]).toMatchObject({ linkinfo: { info_kind: "veth" } });
  });

  it("PG-29: a TUN that nobody holds is a leftover: deleted and created anew", () => {
    host.run("ip", "tuntap", "add", "pt0", "mode", "tun");
    host.run("ip", "addr", "add", "192.0.2.1/32", "dev", "pt0");
    const before = ipJson(host, "link", "show", "pt0")[0]?.["ifindex"];
    const tun = host.enter(() => openTun(kernel, { name: "pt0" }));
    expect(tun.index).not.toBe(before);
    expect(ipJson(host, "addr", "show", "pt0")[0]).toMatchObject({ addr_info: [] });
    tun.close();
    expect(host.enter(() => interfaceIndex(kernel, "pt0"))).toBeUndefined();
  });

  it("refuses names of 0 and 16 bytes, takes 15", () => {
    expect(() => host.enter(() => openTun(kernel, { name: "" }))).toThrow("interface name");
    expect(() => host.enter(() => openTun(kernel, { name: "n234567890123456" }))).toThrow("interface name");
    host.enter(() => openTun(kernel, { name: "n23456789012345" })).close();
  });

  it("PF-34: reads EAGAIN before traffic, a whole packet behind the header after it, EBADFD when deleted", () => {
    const { sys, scratch } = kernel;
    const tun = host.enter(() => openTun(kernel, { name: "pt0" }));
    host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "pt0");
    host.run("sysctl", "-qw", "net.ipv6.conf.pt0.disable_ipv6=1");
    host.run("ip", "link", "set", "pt0", "up");
    const read = () =>
      scratch.frame((room) => {
        const at = room.take(2048);
        const length = sys.read(tun.fd, at, 2048);
        return length < 0 ? errnoName(sys.errno()) : Uint8Array.from(room.bytes(at, length));
      });
    expect(read()).toBe("EAGAIN");
    host.run("bash", "-c", "echo -n hello > /dev/udp/192.0.2.9/9");
    expect(pollOne(kernel, tun.fd, POLLIN, 1000)).toBe(POLLIN);
    const packet = read();
    expect(packet).toHaveLength(10 + 20 + 8 + 5);
    expect(packet[10]).toBe(0x45);
    host.run("ip", "link", "del", "pt0");
    expect(read()).toBe("EBADFD");
    tun.close();
  });

  it("PF-23: an eventfd wakes poll and stays readable", () => {
    const stop = openEventFd(kernel);
    expect(pollOne(kernel, stop.fd, POLLIN, 0)).toBe(0);
    stop.signal();
    expect(pollOne(kernel, stop.fd, POLLIN, 1000)).toBe(POLLIN);
    expect(pollOne(kernel, stop.fd, POLLIN, 0)).toBe(POLLIN);
    stop.close();
  });
});
