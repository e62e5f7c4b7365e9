/** `postern token install ROLE`: from a person or a pipe into the file of a role (PG-20). */
import { PosternError, type Secret, secret } from "../../base/index.ts";
import { storeToken } from "../../host/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { TokenOptions } from "../options.ts";

const ROLES = ["client", "gateway", "relay"] as const;
const TOKEN_CHARACTERS_MAX = 4_096;
const [CTRL_C, CTRL_D, BACKSPACE, DELETE] = ["\u0003", "\u0004", "\b", "\u007f"];

/** What a token is read from: a terminal, or a pipe. */
export type Keyboard = Pick<
  NodeJS.ReadStream,
  "isTTY" | "setEncoding" | "on" | "off" | "pause" | "resume" | "setRawMode"
>;

/** @throws PosternError `usage`, `token-…` */
export async function installToken(
  { words, replace, tokenPath }: TokenOptions,
  io: ProgramIo,
  keyboard: Keyboard = process.stdin,
): Promise<number> {
  const [action, role] = words;
  if (action !== "install" || !ROLES.some((one) => one === role)) {
    throw new PosternError("usage", "it is: postern token install ROLE", `ROLE is ${ROLES.join(", ")}`);
  }
  const path = tokenPath ?? `/etc/postern/${role}-token`;
  // One that came by the environment has been taken from there already (PG-9).
  const token = io.token ?? (await ask(role ?? "", io, keyboard));
  checkToken(token);
  storeToken({ path, token, replaces: replace });
  io.print(`stored in ${path}`);
  return EXIT.ok;
}

async function ask(role: string, io: ProgramIo, keyboard: Keyboard): Promise<Secret<string>> {
  if (!keyboard.isTTY) return secret((await readAll(keyboard)).trim());
  io.printError(`token of the ${role} (it is not shown):`);
  return secret((await readHidden(keyboard)).trim());
}

function checkToken(token: Secret<string>): void {
  const text = token.reveal();
  if (text === "") throw new PosternError("token-missing", "no token was given");
  if (text.length <= TOKEN_CHARACTERS_MAX && /^[\x21-\x7e]+$/.test(text)) return;
  throw new PosternError("token-invalid", "that is no token", "it is one line without blanks");
}

function readAll(keyboard: Keyboard): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    keyboard.setEncoding("utf8");
    keyboard.on("data", (chunk: string) => {
      text += chunk;
      if (text.length <= TOKEN_CHARACTERS_MAX + 2) return;
      keyboard.pause();
      resolve(text);
    });
    keyboard.on("end", () => resolve(text));
    keyboard.on("error", reject);
    keyboard.resume();
  });
}

/** Until Enter, without an echo. */
function readHidden(keyboard: Keyboard): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const finish = (settle: () => void): void => {
      keyboard.setRawMode(false);
      keyboard.off("data", take);
      keyboard.pause();
      settle();
    };
    function take(chunk: string): void {
      for (const key of chunk) {
        if (key === CTRL_C) return finish(() => reject(new PosternError("token-missing", "given up")));
        if (key === "\r" || key === "\n" || key === CTRL_D) return finish(() => resolve(text));
        if (key === BACKSPACE || key === DELETE) text = text.slice(0, -1);
        else if (text.length <= TOKEN_CHARACTERS_MAX) text += key;
      }
    }
    keyboard.setEncoding("utf8");
    keyboard.setRawMode(true);
    keyboard.on("data", take);
    keyboard.resume();
  });
}
