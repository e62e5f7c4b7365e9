/** Which grade of sockets it is (PG-122). */
import { PosternError } from "../../base/index.ts";
import type { Carrier, CarrierOptions, SocketChoice } from "./carrier.ts";
import { isPermitted } from "./permission.ts";

export interface OpenedCarrier {
  readonly carrier: Carrier;
  /** Why it is not fast. */
  readonly reason: string | undefined;
}

/**
 * @throws PosternError `host`, `cipher-unusable`; of a grade that was asked for by name, why it is not to be had
 */
export async function openCarrier(sockets: SocketChoice, options: CarrierOptions): Promise<OpenedCarrier> {
  const openPlain = async (reason: string): Promise<OpenedCarrier> => {
    const { openPlainCarrier } = await import("./plain-carrier.ts");
    return { carrier: await openPlainCarrier(options), reason };
  };
  if (sockets === "plain") return await openPlain("asked for");
  const refusal = whyNotHere();
  try {
    if (refusal !== undefined) throw new PosternError("host", refusal);
    const { openFastCarrier } = await import("./fast-carrier.ts");
    return { carrier: await openFastCarrier(options), reason: undefined };
  } catch (error) {
    // A defect is none of the host.
    if (sockets === "fast" || !(error instanceof PosternError)) throw error;
    options.log.info?.("sockets of the runtime: own ones are not to be had", { reason: error.message });
    return await openPlain(error.message);
  }
}

/** Without trying: a runtime would ask its user for what it was not given. */
function whyNotHere(): string | undefined {
  if (process.platform !== "linux") return `own sockets are made for Linux, not for ${process.platform}`;
  return isPermitted({ name: "ffi" }) ? undefined : "Deno may not use FFI; --allow-ffi grants it";
}
