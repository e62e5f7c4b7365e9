/**
 * `sh -c HIDE_HELPERS sh PROGRAM ARGUMENT…`, in a mount namespace, runs a program that finds none of the
 * system's programs: neither in PATH nor in the folders for administrators (PG-173).
 */
export const HIDE_HELPERS =
  'for folder in /usr/local/sbin /usr/sbin /sbin; do mount -t tmpfs none "$folder"; done; exec env PATH=/nowhere "$@"';
