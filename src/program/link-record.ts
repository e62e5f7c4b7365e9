/** What programs keep of their connection to the portal: its state for people, and how it is closed. */
import { authorityOf, type PortalUrl } from "../portal/protocol/index.ts";
import type { ControlEvent, PortalLinkStatus } from "./control/index.ts";

export interface LinkRecordOptions {
  readonly url: PortalUrl;
  readonly tell: (event: ControlEvent) => void;
}

export interface LinkRecord {
  enter(next: PortalLinkStatus["state"], error?: string): void;
  hiccup(error: string): void;
  status(): PortalLinkStatus;
}

/** What became of the connection, for people (PG-109). */
export function createLinkRecord({ url, tell }: LinkRecordOptions): LinkRecord {
  let state: PortalLinkStatus["state"] = "connecting";
  let since = new Date();
  let lastError: string | undefined;
  let hiccups = 0;

  function enter(next: PortalLinkStatus["state"], error?: string): void {
    if (next === state) return;
    state = next;
    since = new Date();
    tell({ event: "portal", data: { state, ...(error === undefined ? {} : { error }) } });
  }

  return {
    enter,
    hiccup(error) {
      hiccups++;
      lastError = error;
      enter("connecting", error);
    },
    status: () => ({
      url: `${url.scheme}://${authorityOf(url)}${url.path}`,
      state,
      since: since.toISOString(),
      last_error: lastError ?? null,
      hiccups,
    }),
  };
}

/** How long the portal may take to answer our close frame. */
const CLOSE_WITHIN_MS = 500;

export interface LinkEnding {
  /** The event `closed` has come. */
  closed(): void;
  /** Says goodbye; resolves when the portal has answered, or took too long. */
  close(socket: { readonly state: string; close(): void }): Promise<void>;
}

export function createLinkEnding(): LinkEnding {
  let onClosed = (): void => {};
  return {
    closed: () => onClosed(),
    close(socket) {
      if (socket.state === "closed") return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, CLOSE_WITHIN_MS);
        onClosed = () => {
          clearTimeout(timer);
          resolve();
        };
        socket.close();
      });
    },
  };
}
