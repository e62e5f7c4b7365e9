import { describe, expect, it } from "vitest";
import { readRefusal, readRoundTrip } from "../../../../src/program/on-host/ping.ts";

describe("what the host's ping prints", () => {
  it.each([
    ["64 bytes from 10.77.0.9: icmp_seq=1 ttl=63 time=0.345 ms", 0.345],
    ["64 bytes from fd20::100: icmp_seq=1 ttl=63 time=12 ms", 12],
    ["64 bytes from 10.77.0.9: seq=0 ttl=63 time=1.202 ms", 1.202],
    ["64 bytes from 10.77.0.9: icmp_seq=1 ttl=63 time<1 ms", 1],
    ["From 10.77.0.1 icmp_seq=1 Destination Host Unreachable", undefined],
    ["1 packets transmitted, 0 received, 100% packet loss, time 0ms", undefined],
  ])("PG-120: %s", (line, ms) => expect(readRoundTrip(`PING\n${line}\n`)).toBe(ms));

  it.each([
    ["From 10.77.0.1 icmp_seq=1 Packet filtered", "prohibited"],
    ["From 10.77.0.1 icmp_seq=1 Destination Host Prohibited", "prohibited"],
    ["From fd20::1 icmp_seq=1 Destination unreachable: Administratively prohibited", "prohibited"],
    ["From 10.77.0.1 icmp_seq=1 Destination Host Unreachable", "unreachable"],
    ["ping: connect: Network is unreachable", "unreachable"],
  ])("PG-124: %s", (line, reason) => expect(readRefusal(line)).toBe(reason));
});
