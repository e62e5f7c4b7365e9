/** Classic BPF as far as the plane's filters need it: what `man 7 socket` and the kernel's `filter.txt` say of it. */

const LOAD_WORD = 0x20;
const LOAD_LENGTH = 0x80;
const IF_EQUAL = 0x15;
const IF_NOT_LESS = 0x35;
const RETURN = 0x06;
const TO_X = 0x07;
const OR_X = 0x4c;
/** SKF_AD_OFF + SKF_AD_RANDOM, and SKF_NET_OFF. */
const RANDOM = 0xfffff038;
const NETWORK = 0xfff00000;

export interface FilteredPacket {
  /** The IP header. */
  readonly network: Uint8Array;
  /** From the UDP header on. */
  readonly transport: Uint8Array;
  /** What the kernel draws: a number of 32 bits. */
  readonly random: number;
}

/** Whether the program lets the packet pass. Throws where the kernel would refuse the program. */
export function runFilter(program: Uint8Array, packet: FilteredPacket): boolean {
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  let accumulator = 0;
  let x = 0;
  for (let at = 0; at < program.length; at += 8) {
    const code = view.getUint16(at, true);
    const operand = view.getUint32(at + 4, true);
    const jump = (isTaken: boolean) => {
      at += 8 * view.getUint8(at + (isTaken ? 2 : 3));
    };
    if (code === RETURN) return operand !== 0;
    if (code === LOAD_LENGTH) accumulator = packet.transport.length;
    else if (code === LOAD_WORD) {
      const loaded = loadWord(packet, operand);
      // A load beyond the packet ends the program with 0.
      if (loaded === undefined) return false;
      accumulator = loaded;
    } else if (code === TO_X) x = accumulator;
    else if (code === OR_X) accumulator = (accumulator | x) >>> 0;
    else if (code === IF_EQUAL) jump(accumulator === operand);
    else if (code === IF_NOT_LESS) jump(accumulator >= operand);
    else throw new Error(`unknown instruction ${code}`);
  }
  throw new Error("the program has no end");
}

function loadWord({ network, transport, random }: FilteredPacket, offset: number): number | undefined {
  if (offset === RANDOM) return random;
  const [bytes, at] = offset >= NETWORK ? [network, offset - NETWORK] : [transport, offset];
  if (at + 4 > bytes.length) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at);
}
