/** Commands that set a host up (PG-1): rows of the table in `commands.ts`. */
import { fileURLToPath } from "node:url";
import type { IdOptions, ServiceOptions, TokenOptions } from "../program/options.ts";
import { type Command, define } from "./define.ts";
import { ID_ONLY, SERVICE_ONLY, TOKEN_ONLY } from "./options.ts";

const service = define({
  name: "service",
  summary: "units of systemd for client, gateway, relay and portal",
  usage: "print|install|enable|disable ROLE",
  words: { min: 2, max: 2 },
  isAnnounced: false,
  options: SERVICE_ONLY,
  examples: [
    ["sudo postern service install gateway", "unit, user, folders, and /etc/postern/gateway.env for options"],
    ["sudo postern service enable gateway", "starts it, now and at each boot"],
    [
      "sudo postern service install client --dns-control etc-resolv-conf",
      "for a host without systemd-resolved; runs as root",
    ],
    ["postern service print relay", "the unit alone"],
  ],
  run: async (values, words, io) => {
    const { runService } = await import("../program/service/index.ts");
    const main = fileURLToPath(new URL("./main.js", import.meta.url));
    return runService({ ...values, words, main } satisfies ServiceOptions, io);
  },
});

const token = define({
  name: "token",
  summary: "store the token of a role, read from the terminal without echo or from a pipe",
  usage: "install ROLE",
  words: { min: 2, max: 2 },
  isAnnounced: false,
  options: TOKEN_ONLY,
  examples: [
    ["sudo postern token install gateway", "into /etc/postern/gateway-token, for its owner alone"],
    ["cat token | ssh host sudo postern token install client --replace", "another one"],
  ],
  run: async (values, words, io) => {
    const { installToken } = await import("../program/credentials/index.ts");
    return await installToken({ ...values, words } satisfies TokenOptions, io);
  },
});

const id = define({
  name: "id",
  summary: "print by what the portal knows this host; makes it if there is none",
  usage: "[client|gateway]",
  words: { min: 0, max: 1 },
  isAnnounced: false,
  options: ID_ONLY,
  examples: [["sudo postern id gateway", "as the gateway that runs here, or will run"]],
  run: async (values, [role], io) => {
    const { printIdentifier } = await import("../program/credentials/index.ts");
    return printIdentifier({ ...values, role } satisfies IdOptions, io);
  },
});

export const ADMINISTERING_COMMANDS: readonly Command[] = [service, token, id];
