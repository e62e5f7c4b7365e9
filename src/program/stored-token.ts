/** The token of a program that runs by itself: where it is found, and where the next one is (PG-19, PG-144). */
import type { Log, Secret } from "../base/index.ts";
import { resolveToken, type TokenFile } from "../host/index.ts";
import type { ProgramIo } from "./io.ts";
import type { AskToken } from "./token-renewal.ts";

export interface TokenAccess {
  readonly token: Secret<string>;
  /** Absent where there can be no other one. */
  readonly askToken?: AskToken | undefined;
}

/** @throws PosternError `token-missing`, `token-file` */
export function tokenOf(
  io: Pick<ProgramIo, "env" | "token" | "askToken" | "log">,
  role: "client" | "gateway" | "relay",
  tokenPath: string | undefined,
): TokenAccess {
  const credentialsFolder = io.env["CREDENTIALS_DIRECTORY"];
  const { token, file } = resolveToken({
    variable: io.token,
    path: tokenPath ?? `/etc/postern/${role}-token`,
    ...(credentialsFolder === undefined ? {} : { credentialsFolder }),
  });
  return { token, askToken: io.askToken ?? (file && readAgain(file, io.log)) };
}

/** What cannot be read now is read again by whoever asks (PG-120). */
function readAgain({ path, read }: TokenFile, log: Log): AskToken {
  return async (refused) => {
    try {
      const token = read();
      if (token.reveal() === refused.reveal()) {
        log.info?.("the portal refuses the token, and its file holds no other one", { path });
      } else log.info?.("the portal refuses the token; its file holds another one, which is tried", { path });
      return token;
    } catch (error) {
      log.warn?.("the portal refuses the token, and its file cannot be read", { path, error });
      throw error;
    }
  };
}
