/** What a proxy's protocol needs of the client behind it. */
import type { Secret } from "../../../base/index.ts";
import type { UserspaceClient } from "../client.ts";
import type { UdpSocket } from "../face.ts";

export interface ProxyClient extends Pick<UserspaceClient, "dial"> {
  udp(family: 4 | 6): UdpSocket | Promise<UdpSocket>;
}

export interface ProxyParts extends ProxyClient {
  /** Absent: nobody is asked for one. */
  readonly password: Secret<string> | undefined;
  isAllowed(user: string, password: string): boolean;
}
