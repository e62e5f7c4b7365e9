/** Commands that ask or command a running program (PG-1): rows of the table in `commands.ts`. */
import { PosternError } from "../base/index.ts";
import { type Command, define } from "./define.ts";
import { ASKING, FLOWS_ONLY, LOOKUP_ONLY, RESET_ONLY, SHOWING, STATUS_ONLY } from "./options.ts";

const ask = () => import("../program/ask/index.ts");
const NOTHING = { min: 0, max: 0 } as const;

const status = define({
  name: "status",
  summary: "what a running program does: portal, interface, resources, connections",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: { ...STATUS_ONLY, ...SHOWING, ...ASKING },
  examples: [
    ["postern status", "of the one program that runs here"],
    ["postern status --instance gateway --json", "everything, for programs"],
  ],
  run: async (values, _words, io) => await (await ask()).showStatus(values, io),
});

const connections = define({
  name: "connections",
  summary: "the connections of a running client or gateway",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: { ...SHOWING, ...ASKING },
  examples: [["postern connections", "peer, state, path, round trip, traffic, age of the keys"]],
  run: async (values, _words, io) => await (await ask()).showConnections(values, io),
});

const flows = define({
  name: "flows",
  summary: "the newest flows of a running gateway: who reaches what, and how much goes through",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: { ...FLOWS_ONLY, ...SHOWING, ...ASKING },
  examples: [
    ["postern flows", "flows by names, filters or the internet; with --flow-logs all of them"],
    ["postern flows --limit 1000 --json", "for programs"],
  ],
  run: async (values, _words, io) => await (await ask()).showFlows(values, io),
});

const resources = define({
  name: "resources",
  summary: "what a running client may reach",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: { ...SHOWING, ...ASKING },
  examples: [["postern resources", "name, address, site, whether a gateway is online"]],
  run: async (values, _words, io) => await (await ask()).showResources(values, io),
});

const why = define({
  name: "why",
  summary: "why a connection is direct, relayed or not there, and what to do",
  usage: "[PEER|RESOURCE]",
  words: { min: 0, max: 1 },
  isAnnounced: false,
  options: { ...SHOWING, ...ASKING },
  examples: [
    ["postern why", "each connection: pairs of addresses, their last check, one sentence, a remedy"],
    ["postern why Office", "of the gateway that serves a resource; or a peer, by the beginning of its id"],
  ],
  run: async (values, [word], io) => await (await ask()).explainConnections({ ...values, word }, io),
});

const lookup = define({
  name: "lookup",
  summary: "what a running client makes of a name: its addresses, and why",
  usage: "NAME",
  words: { min: 1, max: 1 },
  isAnnounced: false,
  options: { ...SHOWING, ...LOOKUP_ONLY, ...ASKING },
  examples: [
    ["postern lookup wiki.corp", "a name of a resource: the addresses that stand for it in the tunnel"],
    ["postern lookup example.com", "any other name: which server is asked, and what it says"],
    [
      "postern lookup --type TXT wiki.corp",
      "another type of records: text of a resource's name is asked at its site",
    ],
  ],
  run: async (values, [name = ""], io) => await (await ask()).lookUpName({ ...values, name }, io),
});

const reset = define({
  name: "reset",
  summary: "let a running client or gateway connect anew, as after a change of networks",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: { ...RESET_ONLY, ...ASKING },
  examples: [["postern reset", "new sockets, new paths, a new connection to the portal"]],
  run: async (values, _words, io) => await (await ask()).commandReset(values, io),
});

const internet = define({
  name: "internet",
  summary: "turn the internet resource of a running client on or off",
  usage: "on|off",
  words: { min: 1, max: 1 },
  isAnnounced: false,
  options: ASKING,
  examples: [
    ["postern internet on", "whatever no other resource has goes through its gateway; the LAN stays"],
  ],
  run: async (values, [word], io) => {
    if (word !== "on" && word !== "off") throw new PosternError("usage", `'${word}' is neither on nor off`);
    return await (await ask()).commandInternet({ ...values, active: word === "on" }, io);
  },
});

const log = define({
  name: "log",
  summary: "change what a running program logs; without FILTER back to that of its start",
  usage: "[FILTER]",
  words: { min: 0, max: 1 },
  isAnnounced: false,
  options: ASKING,
  examples: [
    ["postern log ice=debug,info", "see how paths are looked for"],
    ["postern log", "as it was at the start"],
  ],
  run: async (values, [filter], io) => await (await ask()).commandLog({ ...values, filter }, io),
});

const stop = define({
  name: "stop",
  summary: "let a running program end cleanly",
  usage: "",
  words: NOTHING,
  isAnnounced: false,
  options: ASKING,
  examples: [["postern stop --instance client", "as SIGTERM does"]],
  run: async (values, _words, io) => await (await ask()).commandStop(values, io),
});

const healthcheck = define({
  name: "healthcheck",
  summary: "whether a running program is ready: exit 0, else 1",
  usage: "[ROLE]",
  words: { min: 0, max: 1 },
  isAnnounced: false,
  options: ASKING,
  examples: [["postern healthcheck gateway", "for containers and supervisors"]],
  run: async ({ instance }, [role], io) =>
    await (await ask()).checkHealth({ instance: instance ?? role }, io),
});

export const ASKING_COMMANDS: readonly Command[] = [
  status,
  connections,
  flows,
  resources,
  why,
  lookup,
  reset,
  internet,
  log,
  stop,
  healthcheck,
];
