/** What control looks at in TCP headers. */
import { PROTOCOL } from "./ip.ts";
import type { PacketView } from "./view.ts";

const FLAGS_AT = 13;
const SYN = 0x02;
const SYN_AND_ACK = 0x12;

/** A segment that begins a connection: SYN without ACK. */
export function isSyn({ protocol, transport }: Pick<PacketView, "protocol" | "transport">): boolean {
  return protocol === PROTOCOL.tcp && ((transport[FLAGS_AT] ?? 0) & SYN_AND_ACK) === SYN;
}
