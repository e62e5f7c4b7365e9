import { type CipherChoice, chooseCipher } from "../../bindings/cipher/index.ts";

let choice: CipherChoice | undefined;

/** The plane's module, one for the whole process (PG-131). @throws PosternError `cipher-unusable` */
export function sharedChoice(cipher: string | undefined): CipherChoice {
  if (cipher !== undefined) return chooseCipher({ cipher });
  choice ??= chooseCipher();
  return choice;
}
