/** `postern gateway setup` and `teardown`: forwarding alone, with more privileges than the gateway has (PG-68). */
import { openKernel, openRtnetlink } from "../../../bindings/linux/index.ts";
import {
  enableForwarding,
  readNetwork,
  removeFirewall,
  requirePrivilege,
  setUpFirewall,
} from "../../host/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { GatewayOptions } from "../options.ts";

/** The gateway finds everything as it wants it, and keeps it so. @throws PosternError `privilege`, `host` */
export function setUpForwarding(
  { tunName, masquerade }: Pick<GatewayOptions, "tunName" | "masquerade">,
  { log }: ProgramIo,
): number {
  requirePrivilege("gateway setup");
  if (masquerade === "off") return EXIT.ok;
  const rtnetlink = openRtnetlink(openKernel());
  try {
    const forwarding = enableForwarding(readNetwork(rtnetlink), log);
    setUpFirewall(tunName, log);
    log.info?.("forwarding is set up", { forwarding, device: tunName });
    return EXIT.ok;
  } finally {
    rtnetlink.close();
  }
}

/** Deletes the rules. Kernel parameters stay (PG-15). @throws PosternError `privilege`, `host` when rules may stay */
export function tearDownForwarding({ log }: ProgramIo): number {
  requirePrivilege("gateway teardown");
  if (!removeFirewall()) log.info?.("nft is not installed: there are no rules to remove");
  return EXIT.ok;
}
