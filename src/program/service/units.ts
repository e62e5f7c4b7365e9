/** Files for systemd and polkit: what they say, as text (PG-78 to PG-80, PG-83). Pure. */

export const SERVICE_ROLES = ["client", "gateway", "relay", "portal"] as const;
export type ServiceRole = (typeof SERVICE_ROLES)[number];

export interface UnitOptions {
  /** Absolute: the program and, before them, what has to run it. */
  readonly command: readonly string[];
  /** `NAME=value`: what the command wants to find in its environment. */
  readonly variables?: readonly string[];
  /** The client writes /etc/resolv.conf itself, which is root's (DN-103). */
  readonly ownsResolvConf?: boolean;
}

export function unitName(role: ServiceRole): string {
  return `postern-${role}.service`;
}

interface RoleUnit {
  readonly description: string;
  /** The TUN device, routes, marks. */
  readonly isTunnel: boolean;
  readonly hasToken: boolean;
  readonly stopWithinS: number;
  readonly filesMax: number;
}

const ROLES: Readonly<Record<ServiceRole, RoleUnit>> = {
  client: { description: "client", isTunnel: true, hasToken: true, stopWithinS: 15, filesMax: 65_536 },
  gateway: { description: "gateway", isTunnel: true, hasToken: true, stopWithinS: 15, filesMax: 65_536 },
  // Its drain and that of the portal are 10 s (PG-17, PT-190); two sockets per client (RL-65).
  relay: { description: "relay", isTunnel: false, hasToken: true, stopWithinS: 30, filesMax: 1_048_576 },
  portal: { description: "portal", isTunnel: false, hasToken: false, stopWithinS: 30, filesMax: 65_536 },
};

/** Never `MemoryDenyWriteExecute` nor `ProcSubset=pid`: JavaScript engines die of the one, we of the other (PG-80). */
const SANDBOX = [
  ["NoNewPrivileges", "PrivateTmp", "ProtectHome", "ProtectClock", "ProtectControlGroups", "ProtectHostname"],
  ["ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "LockPersonality"],
  ["RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "RemoveIPC"],
].flat();

export function unitOf(
  role: ServiceRole,
  { command, variables = [], ownsResolvConf = false }: UnitOptions,
): string {
  const { description, isTunnel, hasToken, stopWithinS, filesMax } = ROLES[role];
  const program = command.map(quoteWord).join(" ");
  const lines = [
    "[Unit]",
    `Description=Postern ${description}`,
    "Wants=network-online.target",
    "After=network-online.target nss-lookup.target",
    "",
    "[Service]",
    "Type=notify",
    ...(ownsResolvConf
      ? ["User=root", "Environment=POSTERN_DNS_CONTROL=etc-resolv-conf"]
      : ["User=postern", "Group=postern"]),
    ...variables.map((variable) => `Environment=${variable}`),
    `EnvironmentFile=-/etc/postern/${role}.env`,
    ...(hasToken ? [`LoadCredential=POSTERN_TOKEN:/etc/postern/${role}-token`] : []),
    // What wants more than CAP_NET_ADMIN is done before the program gives everything else up.
    ...(role === "gateway" ? [`ExecStartPre=+${program} gateway setup`] : []),
    `ExecStart=${program} ${role}`,
    // What a client that was killed has left of its DNS (DN-108).
    ...(role === "client" ? [`ExecStopPost=+${program} client --revert-dns`] : []),
    "ExecReload=/bin/kill -HUP $MAINPID",
    "Restart=always",
    "RestartSec=7",
    // Wrong command, no token, refused, no privilege, bad certificate, second instance: no retry helps (PG-14).
    "RestartPreventExitStatus=2 3 4 5 7 9",
    "TimeoutStartSec=60",
    `TimeoutStopSec=${stopWithinS}`,
    "WatchdogSec=60",
    "StateDirectory=postern",
    "RuntimeDirectory=postern",
    "RuntimeDirectoryPreserve=yes",
    "LogsDirectory=postern",
    ...(isTunnel && !ownsResolvConf ? ["AmbientCapabilities=CAP_NET_ADMIN"] : []),
    `CapabilityBoundingSet=${capabilitiesOf(isTunnel, ownsResolvConf)}`,
    "DevicePolicy=closed",
    ...(isTunnel ? ["DeviceAllow=/dev/net/tun rw"] : []),
    "ProtectSystem=strict",
    // The file is replaced by a rename, for which the folder must be writable.
    ...(ownsResolvConf ? ["ReadWritePaths=/etc"] : []),
    "ProtectProc=invisible",
    `RestrictAddressFamilies=AF_INET AF_INET6${isTunnel ? " AF_NETLINK" : ""} AF_UNIX`,
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0077",
    `LimitNOFILE=${filesMax}`,
    "LimitCORE=0",
    ...SANDBOX.map((name) => `${name}=true`),
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  ];
  return `${lines.join("\n")}\n`;
}

/** Folders below /run and /var/lib may be the user's `postern`, from before: root without more may not write there. */
function capabilitiesOf(isTunnel: boolean, ownsResolvConf: boolean): string {
  if (!isTunnel) return "";
  return ownsResolvConf ? "CAP_NET_ADMIN CAP_DAC_OVERRIDE" : "CAP_NET_ADMIN";
}

export const SYSUSERS = 'u postern - "Postern" /var/lib/postern\n';

export const TMPFILES = "d /etc/postern 0755 root root\nd /run/postern 0750 postern postern\n";

/** resolvectl asks polkit, which asks the administrator, who is not there (PG-83). */
export const POLKIT_RULE = `// The client sets the DNS servers and domains of its tunnel's interface.
polkit.addRule(function (action, subject) {
  if (subject.user === "postern" && action.id.indexOf("org.freedesktop.resolve1.") === 0) {
    return polkit.Result.YES;
  }
});
`;

/** Where the options of a service stand; only a first version is written. */
export function environmentTemplate(role: ServiceRole): string {
  const examples: Readonly<Record<ServiceRole, readonly string[]>> = {
    client: ["POSTERN_API_URL=wss://portal.example.com"],
    gateway: ["POSTERN_API_URL=wss://portal.example.com", "POSTERN_NAME=berlin-1"],
    relay: ["POSTERN_API_URL=wss://portal.example.com", "POSTERN_PUBLIC_IP4=198.51.100.7"],
    portal: ["POSTERN_CONFIG=/etc/postern/portal.yaml", "POSTERN_LISTEN=127.0.0.1:8080"],
  };
  const lines = examples[role].map((line) => `#${line}\n`);
  return `# Options of postern ${role}, as variables (postern help ${role}).\n${lines.join("")}`;
}

/** systemd.service(5): a word with a blank or a special character stands in quotes, `%` and `$` twice. */
function quoteWord(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@%$+=:,./-]+$/.test(word) ? escaped : `"${escaped.replace(/["\\]/g, "\\$&")}"`;
}
