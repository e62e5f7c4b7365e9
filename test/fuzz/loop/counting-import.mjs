/** What a module with counters calls, of the module `env` (TS-41). By itself, because Binaryen takes long to load. */
export const COUNTING_IMPORT = "count_execution";
