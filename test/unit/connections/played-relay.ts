/** A relay that the test plays towards lone connections. */
import { equalSocketAddress, ip, type SocketAddress } from "../../../src/base/index.ts";
import type { DatagramOutcome, RelayEntry } from "../../../src/connections/index.ts";
import { METHOD_BINDING } from "../../../src/stun/index.ts";
import {
  encodeChannelData,
  encodeTurn,
  longTermKey,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_REFRESH,
  parseChannelData,
  parseTurn,
  type TurnFields,
  type TurnMessage,
} from "../../../src/turn/index.ts";
import { LOCAL, type LoneConnections } from "./lone-connections.ts";

const METHODS = {
  binding: METHOD_BINDING,
  allocate: METHOD_ALLOCATE,
  refresh: METHOD_REFRESH,
  bind: METHOD_CHANNEL_BIND,
} as const;

export type Method = keyof typeof METHODS;

export const MAPPED: SocketAddress = { address: ip("203.0.113.200"), port: 1_024 };

export interface PlayedRelay {
  readonly entry: RelayEntry;
  readonly socket: SocketAddress;
  readonly relayed: SocketAddress;
  /** All control messages to it so far. */
  requests(method: Method): readonly TurnMessage[];
  last(method: Method): TurnMessage;
  /** Channel data to it so far. */
  data(): readonly { readonly channel: number; readonly data: Uint8Array }[];
  succeed(request: TurnMessage, fields: TurnFields): DatagramOutcome;
  refuse(request: TurnMessage, code: number): DatagramOutcome;
  /** Binding and Allocate are answered. */
  activate(): void;
  /** The last ChannelBind is answered. */
  confirm(): void;
  sendData(channel: number, data: Uint8Array): DatagramOutcome;
  send(bytes: Uint8Array): DatagramOutcome;
}

/** @param n makes its addresses: 203.0.113.n */
export function playRelay(lone: LoneConnections, n: number, change: Partial<RelayEntry> = {}): PlayedRelay {
  const address = ip(`203.0.113.${n}`);
  const socket = change.v4 ?? { address, port: 3478 };
  const entry = {
    id: `relay-${n}`,
    v4: socket,
    username: "4102444800:salt",
    password: "secret",
    realm: "x",
    ...change,
  };
  const relayed = { address, port: 50_000 + n };
  const sent = () =>
    lone.transmits
      .filter(({ destination }) => equalSocketAddress(destination, socket))
      .map(({ bytes }) => bytes);
  const messages = () =>
    sent().flatMap((bytes) => {
      const message = parseTurn(bytes);
      return message.ok ? [message.value] : [];
    });
  const relay: PlayedRelay = {
    entry,
    socket,
    relayed,
    requests: (method) => messages().filter(({ frame }) => frame.method === METHODS[method]),
    last(method) {
      const found = relay.requests(method).at(-1);
      if (found === undefined) throw new Error(`no request ${method}`);
      return found;
    },
    data: () =>
      sent().flatMap((bytes) => {
        const channelData = parseChannelData(bytes, 0x4fff);
        return channelData.ok ? [channelData.value] : [];
      }),
    succeed: (request, fields) => relay.send(encoded(entry, request, { kind: "success", fields })),
    refuse: (request, code) =>
      relay.send(encoded(entry, request, { kind: "error", fields: { errorCode: { code, phrase: "" } } })),
    activate() {
      relay.succeed(relay.last("binding"), { mappedAddress: MAPPED });
      relay.succeed(relay.last("allocate"), { relayedAddresses: [relayed], lifetimeSeconds: 3_600 });
    },
    confirm() {
      relay.succeed(relay.last("bind"), {});
    },
    sendData(channel, data) {
      const bytes = new Uint8Array(4 + data.length);
      encodeChannelData(bytes, { channel, data });
      return relay.send(bytes);
    },
    send: (bytes) =>
      lone.apply((machine, now) => machine.handleDatagram(now, { local: LOCAL, from: socket, bytes })),
  };
  return relay;
}

export function listRelays(lone: LoneConnections, ...relays: readonly PlayedRelay[]): void {
  lone.apply((machine, now) =>
    machine.updateRelays(now, { remove: [], add: relays.map(({ entry }) => entry) }),
  );
}

function encoded(
  { username, password, realm }: RelayEntry,
  { frame }: TurnMessage,
  { kind, fields }: { readonly kind: "success" | "error"; readonly fields: TurnFields },
): Uint8Array {
  const into = new Uint8Array(600);
  const { method, transactionId } = frame;
  const key = method === METHOD_BINDING ? {} : { key: longTermKey({ username, password, realm }) };
  return into.slice(0, encodeTurn(into, { method, class: kind, transactionId, fields }, key));
}
