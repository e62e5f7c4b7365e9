/** Completion for shells, made from the tables of commands and options (PG-140). Pure. */
import type { Command } from "./define.ts";
import type { OptionSpec } from "./options.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function formatCompletion(shell: Shell, commands: readonly Command[]): string {
  switch (shell) {
    case "bash":
      return bash(commands);
    case "zsh":
      return zsh(commands);
    case "fish":
      return fish(commands);
  }
}

/** An option as it may be written, with what may follow it. */
interface Written {
  readonly name: string;
  readonly short: string | undefined;
  readonly help: string;
  readonly takes: "nothing" | "file" | "folder" | "text" | readonly string[];
}

const HELP: Written = { name: "help", short: "h", help: "options and examples", takes: "nothing" };

function optionsOf({ options }: Command): readonly Written[] {
  const own = Object.entries<OptionSpec>(options).map(([name, spec]): Written => {
    const { short, help } = spec;
    return { name, short, help, takes: takesOf(spec) };
  });
  return [...own, HELP];
}

function takesOf(spec: OptionSpec): Written["takes"] {
  switch (spec.kind) {
    case "flag":
      return "nothing";
    case "choice":
      return spec.choices;
    case "text":
    case "list":
      if (spec.value === "PATH" || spec.value === "FILE") return "file";
      return spec.value === "DIR" ? "folder" : "text";
    default:
      return "text";
  }
}

/** What may follow a command besides options: the words of its table, or those that its usage lists. */
function wordsOf({ words, usage }: Command): readonly string[] {
  if (words.oneOf !== undefined) return words.oneOf;
  return /^\[?(?<list>[a-z]+(?:\|[a-z]+)+)/.exec(usage)?.groups?.["list"]?.split("|") ?? [];
}

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const options = optionsOf(command);
    const names = options.map(({ name }) => `--${name}`);
    const values = options.flatMap(({ name, takes }) => bashValues(name, takes));
    return `    ${command.name})
      case "$previous" in
${values.join("")}      esac
      words="${[...wordsOf(command), ...names].join(" ")}"
      ;;
`;
  });
  const names = [...commands.map(({ name }) => name), "help"].join(" ");
  return `# bash completion of postern: postern completion bash > /etc/bash_completion.d/postern
_postern() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${names} --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
    help)
      words="${names}"
      ;;
${cases.join("")}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _postern postern
`;
}

function bashValues(name: string, takes: Written["takes"]): readonly string[] {
  const reply = (generator: string): readonly string[] => [
    `        --${name})\n          COMPREPLY=($(compgen ${generator} -- "$current"))\n          return\n          ;;\n`,
  ];
  switch (takes) {
    case "nothing":
      return [];
    case "file":
      return reply("-f");
    case "folder":
      return reply("-d");
    case "text":
      return [`        --${name})\n          return\n          ;;\n`];
    default:
      return reply(`-W "${takes.join(" ")}"`);
  }
}

function zsh(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const specs = optionsOf(command).map(({ name, help, takes }) => {
      const [sign, action] = takes === "nothing" ? ["", ""] : ["=", `:${zshAction(name, takes)}`];
      return `        ${quote(`*--${name}${sign}[${zshText(help)}]${action}`)} \\\n`;
    });
    const words = wordsOf(command);
    const rest = words.length === 0 ? "" : `        ${quote(`*:word:(${words.join(" ")})`)} \\\n`;
    return `    ${command.name})\n      _arguments -S \\\n${specs.join("")}${rest}        && return\n      ;;\n`;
  });
  const described = commands.map(({ name, summary }) => `  ${quote(`${name}:${zshText(summary)}`)}\n`);
  return `#compdef postern
# zsh completion of postern: postern completion zsh > a file _postern in a folder of $fpath
_postern_commands=(
${described.join("")}  'help:commands, or options and examples of one'
)
if (( CURRENT == 2 )); then
  _describe command _postern_commands
  return
fi
local name=$words[2]
shift words
(( CURRENT-- ))
case $name in
${cases.join("")}esac
`;
}

function zshAction(name: string, takes: Exclude<Written["takes"], "nothing">): string {
  switch (takes) {
    case "file":
      return `${name}:_files`;
    case "folder":
      return `${name}:_files -/`;
    case "text":
      return `${name}:`;
    default:
      return `${name}:(${takes.join(" ")})`;
  }
}

/** Brackets end a description, colons divide it. */
function zshText(text: string): string {
  return text.replaceAll("[", "(").replaceAll("]", ")").replaceAll(":", "\\:");
}

function fish(commands: readonly Command[]): string {
  const lines = [
    "# fish completion of postern: postern completion fish > ~/.config/fish/completions/postern.fish",
  ];
  lines.push("complete -c postern -f");
  for (const { name, summary } of commands) {
    lines.push(`complete -c postern -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`);
  }
  for (const command of commands) {
    const only = `complete -c postern -n '__fish_seen_subcommand_from ${command.name}'`;
    const words = wordsOf(command);
    if (words.length > 0) lines.push(`${only} -a ${quote(words.join(" "))}`);
    for (const { name, short, help, takes } of optionsOf(command)) {
      const letter = short === undefined ? "" : ` -s ${short}`;
      lines.push(`${only} -l ${name}${letter}${fishValue(takes)} -d ${quote(help)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function fishValue(takes: Written["takes"]): string {
  if (takes === "nothing") return "";
  if (takes === "file" || takes === "folder") return " -r -F";
  return takes === "text" ? " -x" : ` -x -a ${quote(takes.join(" "))}`;
}

/** In single quotes, for all three shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
