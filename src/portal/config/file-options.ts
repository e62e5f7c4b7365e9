/** What reading the portal's file needs besides its text. */

export interface FileOptions {
  /** The content of an environment variable or file that holds a token. */
  readonly readEnv: (name: string) => string | undefined;
  readonly readFile: (path: string) => string | undefined;
  /** Set under `--dev`: what the file may use without defining it (PT-111). */
  readonly dev?: DevDefaults;
}

/** What `--dev` adds: account `dev`, site `default`, group and service account `dev` (PT-111). */
export interface DevDefaults {
  /** Hashes of the tokens that the portal prints. */
  readonly tokens: { readonly gateway: string; readonly relay: string; readonly client: string };
}
