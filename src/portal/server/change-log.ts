/**
 * Which records changed since the disk was last offered something (PT-115). Only keys are noted: when
 * changes are taken, each record is written as it is then, once.
 */
import type { AuthorizationTable } from "./authorizations.ts";
import { authorizationKey } from "./authorizations.ts";
import type { PeerTable } from "./peer-table.ts";
import type { RejectionTable } from "./rejections.ts";
import type { RecordKind, StateChange } from "./stored-state.ts";
import { rejectionKey } from "./stored-state.ts";

/** Where the records of each kind are. */
export interface RecordTables {
  readonly device: PeerTable;
  readonly gateway: PeerTable;
  readonly authorization: AuthorizationTable;
  readonly rejection: RejectionTable;
}

export interface ChangeLog {
  note(kind: RecordKind, key: string): void;
  take(tables: RecordTables): readonly StateChange[];
  giveBack(changes: readonly StateChange[]): void;
  everything(tables: RecordTables): Iterable<StateChange>;
}

export function createChangeLog(): ChangeLog {
  const noted: Readonly<Record<RecordKind, Set<string>>> = {
    device: new Set(),
    gateway: new Set(),
    authorization: new Set(),
    rejection: new Set(),
  };
  return {
    note: (kind, key) => noted[kind].add(key),
    take(tables) {
      const changes: StateChange[] = [];
      for (const key of noted.device) changes.push(peerChange("device", key, tables.device));
      for (const key of noted.gateway) changes.push(peerChange("gateway", key, tables.gateway));
      for (const key of noted.authorization) {
        const value = tables.authorization.get(key);
        changes.push({ kind: "authorization", key, ...(value === undefined ? {} : { value }) });
      }
      for (const key of noted.rejection) {
        const value = tables.rejection.get(key);
        changes.push({ kind: "rejection", key, ...(value === undefined ? {} : { value }) });
      }
      for (const keys of Object.values(noted)) keys.clear();
      return changes;
    },
    giveBack(changes) {
      for (const { kind, key } of changes) noted[kind].add(key);
    },
    everything,
  };
}

function peerChange(kind: "device" | "gateway", key: string, table: PeerTable): StateChange {
  const value = table.packed(key);
  return { kind, key, ...(value === undefined ? {} : { value }) };
}

function* everything(tables: RecordTables): Iterable<StateChange> {
  for (const value of tables.device.allPacked()) yield { kind: "device", key: value.id, value };
  for (const value of tables.gateway.allPacked()) yield { kind: "gateway", key: value.id, value };
  for (const value of tables.authorization.all()) {
    yield { kind: "authorization", key: authorizationKey(value), value };
  }
  for (const value of tables.rejection.all()) yield { kind: "rejection", key: rejectionKey(value), value };
}
