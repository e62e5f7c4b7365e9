/** @returns its path */
export function makeOwnFolder(parent: string): string;
