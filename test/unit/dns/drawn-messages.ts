/** Messages that are drawn: every type of record, any octets in labels, names compressed by chance. */
import { concatBytes } from "../../../src/base/index.ts";
import { TYPE } from "../../../src/dns/index.ts";
import fc from "../../lib/property.ts";

export interface DrawnName {
  readonly labels: readonly Uint8Array[];
  /** Whether it may point to a name before it. */
  readonly isCompressed: boolean;
}

/** Data are octets, and names between them. */
interface DrawnRecord {
  readonly owner: DrawnName;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: readonly (Uint8Array | DrawnName)[];
}

export interface DrawnMessage {
  readonly id: number;
  readonly flags: number;
  readonly question: { readonly name: DrawnName; readonly type: number; readonly class: number };
  readonly answers: readonly DrawnRecord[];
  readonly edns:
    | {
        readonly size: number;
        readonly ttl: number;
        readonly options: readonly [code: number, data: Uint8Array][];
      }
    | undefined;
}

/** Options that `dns-packet` looks into: they have a shape. */
const SHAPED_OPTIONS: readonly number[] = [8, 11, 14];
const octetsOf = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most });
const u16 = fc.integer({ min: 0, max: 65_535 });

/** Any octets, or only letters that survive being text. */
function nameFrom(isText: boolean): fc.Arbitrary<DrawnName> {
  const letter = fc.integer({ min: 0x61, max: 0x66 });
  const text = fc.array(letter, { minLength: 1, maxLength: 12 }).map((letters) => Uint8Array.from(letters));
  const label = isText ? text : fc.oneof(text, octetsOf(1, 12), octetsOf(60, 63));
  return fc.record({ labels: fc.array(label, { maxLength: 3 }), isCompressed: fc.boolean() });
}

function dataFrom(name: fc.Arbitrary<DrawnName>): fc.Arbitrary<Pick<DrawnRecord, "type" | "data">> {
  const of = (type: number, ...parts: readonly fc.Arbitrary<Uint8Array | DrawnName>[]) =>
    fc.tuple(...parts).map((data) => ({ type, data }));
  const strings = (least: number) =>
    fc
      .array(octetsOf(0, 40), { minLength: least, maxLength: 4 })
      .map((all) => concatBytes(...all.flatMap((one) => [Uint8Array.of(one.length), one])));
  const ascii = octetsOf(0, 9).map((all) =>
    Uint8Array.of(all.length, ...all.map((octet) => 0x61 + (octet % 26))),
  );
  const whole = nameFrom(true).map((one) => ({ ...one, isCompressed: false }));
  const one = [TYPE.NS, TYPE.CNAME, TYPE.PTR, TYPE.DNAME].map((type) => of(type, name));
  const opaque = [TYPE.SIG, TYPE.SVCB, TYPE.HTTPS, TYPE.TSIG, TYPE.URI, 65_280].map((type) =>
    of(type, octetsOf(0, 60)),
  );
  const prints = [20, 32].map((length, i) =>
    of(
      TYPE.SSHFP,
      fc.integer({ min: 0, max: 9 }).map((kind) => Uint8Array.of(kind, i + 1)),
      octetsOf(length, length),
    ),
  );
  return fc.oneof(
    of(TYPE.A, octetsOf(4, 4)),
    of(TYPE.AAAA, octetsOf(16, 16)),
    ...one,
    of(TYPE.MX, octetsOf(2, 2), name),
    of(TYPE.SRV, octetsOf(6, 6), name),
    of(TYPE.SOA, name, name, octetsOf(20, 20)),
    of(TYPE.TXT, strings(1)),
    // Names in newer types are not compressed (RFC 3597 §4); this one `dns-packet` hands out as text only.
    of(TYPE.NAPTR, octetsOf(4, 4), ascii, ascii, ascii, whole),
    ...prints,
    of(TYPE.TLSA, octetsOf(3, 40)),
    ...opaque,
  );
}

/** `isText`: nothing that does not survive being read as text and written again. */
export function drawnMessages({ isText }: { readonly isText: boolean }): fc.Arbitrary<DrawnMessage> {
  const name = nameFrom(isText);
  const classes = isText ? fc.constantFrom(1, 3, 4, 255) : fc.oneof(fc.constantFrom(1, 3, 4, 255), u16);
  const record = fc
    .tuple(name, classes, fc.integer({ min: 0, max: 0xffff_ffff }), dataFrom(name))
    .map(([owner, inClass, ttl, data]) => ({ owner, class: inClass, ttl, ...data }));
  const option = fc.tuple(
    u16.filter((code) => !SHAPED_OPTIONS.includes(code)),
    octetsOf(0, 30),
  );
  const types = fc.oneof(fc.constantFrom(...Object.values(TYPE)), isText ? fc.constant(TYPE.A) : u16);
  return fc.record({
    id: u16,
    flags: u16,
    question: fc.record({ name, type: types, class: classes }),
    answers: fc.array(record, { maxLength: 6 }),
    edns: fc.option(
      fc.record({
        // They write 4,096 for nothing.
        size: fc.integer({ min: 1, max: 65_535 }),
        ttl: fc.integer({ min: 0, max: 0xffff_ffff }),
        options: fc.array(option, { maxLength: 3 }),
      }),
      { nil: undefined },
    ),
  });
}

interface Written {
  readonly bytes: number[];
  /** Where names stand that have been written, by their labels. */
  readonly names: Map<string, number>;
}

export function encodeDrawn({ id, flags, question, answers, edns }: DrawnMessage): Uint8Array {
  const to: Written = { bytes: [], names: new Map() };
  pushU16(to, id, flags, 1, answers.length, 0, edns === undefined ? 0 : 1);
  pushName(to, question.name);
  pushU16(to, question.type, question.class);
  for (const { owner, type, class: inClass, ttl, data } of answers) {
    pushName(to, owner);
    pushU16(to, type, inClass, ttl >>> 16, ttl & 0xffff, 0);
    const start = to.bytes.length;
    for (const part of data) {
      if (part instanceof Uint8Array) to.bytes.push(...part);
      else pushName(to, part);
    }
    const length = to.bytes.length - start;
    to.bytes[start - 2] = length >> 8;
    to.bytes[start - 1] = length & 0xff;
  }
  if (edns !== undefined) {
    const options = edns.options.flatMap(([code, data]) => [
      ...[code >> 8, code & 0xff, data.length >> 8, data.length & 0xff],
      ...data,
    ]);
    to.bytes.push(0);
    pushU16(to, TYPE.OPT, edns.size, edns.ttl >>> 16, edns.ttl & 0xffff, options.length);
    to.bytes.push(...options);
  }
  return Uint8Array.from(to.bytes);
}

function pushName({ bytes, names }: Written, { labels, isCompressed }: DrawnName): void {
  for (let i = 0; i < labels.length; i++) {
    const rest = labels
      .slice(i)
      .map((label) => label.join("."))
      .join("/");
    const before = names.get(rest);
    if (isCompressed && before !== undefined) {
      bytes.push(0xc0 | (before >> 8), before & 0xff);
      return;
    }
    // Further on nothing can point to it.
    if (before === undefined && bytes.length < 0x4000) names.set(rest, bytes.length);
    const label = labels[i] ?? new Uint8Array(0);
    bytes.push(label.length, ...label);
  }
  bytes.push(0);
}

function pushU16({ bytes }: Written, ...numbers: readonly number[]): void {
  for (const number of numbers) bytes.push(number >> 8, number & 0xff);
}
