/** The wire between a tunnel machine and the portal: requests out, messages in, and how it all ends. */
import { arch, release } from "node:os";
import { type Instant, PosternError, unixMs } from "../../base/index.ts";
import {
  type Channel,
  codeOf,
  describeFatal,
  describeTransient,
  type FatalError,
  MAX_PARTITION_MS,
  type PortalEvent,
  type UserAgentParts,
  userAgentOf,
} from "../../portal/protocol/index.ts";
import { createLinkEnding, createLinkRecord } from "../link-record.ts";
import { createPortalSocket, loadRoots, type PortalSocket } from "../portal-socket.ts";
import { systemRandom } from "../system-random.ts";
import { VERSION } from "../version.ts";
import type { PeerParts, PeerWiring } from "./role.ts";

export interface LinkSettings {
  /** Milliseconds; absent: the role's own. */
  readonly maxPartitionTime: number | undefined;
  /** Trusted roots instead of the system's; absent: those. */
  readonly caFile: string | undefined;
  /** More of them, as PEM. */
  readonly ca?: readonly string[];
}

export interface PortalLinkOptions<Message, Request> {
  readonly parts: Omit<PeerParts<unknown>, "machine">;
  readonly component: UserAgentParts["component"];
  readonly channel: Channel<Message, Request>;
  readonly settings: LinkSettings;
  readonly handleMessage: (now: Instant, message: Message) => void;
  /** Takes the machine's events; `request` sends one to the portal. */
  readonly drainEvents: (now: Instant, request: (request: Request) => void) => void;
  /** The account's short name, where a message tells it (PT-63). */
  readonly accountOf?: (message: Message) => string | undefined;
}

export function createPortalLink<Message, Request>(options: PortalLinkOptions<Message, Request>): PeerWiring {
  const { parts } = options;
  const ending = createLinkEnding();
  let account: string | undefined;
  const record = createLinkRecord(parts);
  const socket = openSocket(options, handleEvent);

  function handleEvent(event: Exclude<PortalEvent<Message>, { kind: "resolve" }>): void {
    switch (event.kind) {
      case "connected":
        // The machine has logged it, and the hiccup (PT-30).
        return record.enter("connected");
      case "hiccup":
        return record.hiccup(describeTransient(event.error));
      case "message":
        account = options.accountOf?.(event.message) ?? account;
        return parts.input((now) => options.handleMessage(now, event.message));
      case "fatal":
        return parts.fail(toError(event.error));
      case "closed":
        record.enter("closed");
        return ending.closed();
    }
  }

  return {
    status: record.status,
    account: () => account,
    connect: () => socket.connect({ ...parts.login, publicKey: parts.publicKey() }),
    // The tunnel's key may be new (PT-12), so this is a connect, not a mere repetition.
    reconnect() {
      record.enter("connecting");
      socket.connect({ ...parts.login, publicKey: parts.publicKey() });
    },
    check: () => socket.check(),
    drainEvents: (now) => options.drainEvents(now, (request) => socket.send(request)),
    close: () => ending.close(socket),
  };
}

/** The connection as an endpoint wants it: past the tunnel, names and all (PG-64). */
function openSocket<Message, Request>(
  options: PortalLinkOptions<Message, Request>,
  onEvent: (event: Exclude<PortalEvent<Message>, { kind: "resolve" }>) => void,
): PortalSocket<Request> {
  const { parts, component, channel } = options;
  const { url } = parts;
  const { openTcp, resolve, now } = parts.surroundings;
  const maxPartitionMs =
    options.settings.maxPartitionTime ?? (component === "gateway" ? MAX_PARTITION_MS : undefined);
  return createPortalSocket<Message, Request>({
    url,
    channel,
    ...{ token: parts.token, askToken: parts.askToken },
    userAgent: userAgentOf({
      os: "Linux",
      osVersion: release(),
      component,
      release: VERSION,
      arch: arch(),
      kernel: release(),
    }),
    ...(maxPartitionMs === undefined ? {} : { maxPartitionMs }),
    ...(url.scheme === "wss"
      ? { roots: [...loadRoots(options.settings.caFile), ...(options.settings.ca ?? [])] }
      : {}),
    openTcp,
    ...(resolve && { resolve }),
    now,
    wallNow: () => unixMs(Date.now()),
    random: systemRandom,
    log: parts.log.scope("portal"),
    onEvent,
    onError: parts.fail,
  });
}

function toError(error: FatalError): PosternError {
  return new PosternError(codeOf(error), describeFatal(error));
}
