/** What control looks at in TCP headers. */
import { PROTOCOL } from "./ip.ts";
import type { PacketView } from "./view.ts";

const FLAGS_AT = 13;
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const SYN_AND_ACK = 0x12;

/** A segment that begins a connection: SYN without ACK. */
export function isSyn({ protocol, transport }: Pick<PacketView, "protocol" | "transport">): boolean {
  return protocol === PROTOCOL.tcp && ((transport[FLAGS_AT] ?? 0) & SYN_AND_ACK) === SYN;
}

/** Whether a segment says that the connection ends, or its sender's half of it. */
export function farewellOf({ protocol, transport }: Pick<PacketView, "protocol" | "transport">): {
  readonly hasFin: boolean;
  readonly hasRst: boolean;
} {
  const flags = protocol === PROTOCOL.tcp ? (transport[FLAGS_AT] ?? 0) : 0;
  return { hasFin: (flags & FIN) !== 0, hasRst: (flags & RST) !== 0 };
}
