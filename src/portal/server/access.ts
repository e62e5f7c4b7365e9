/**
 * Who may reach what: the set of resources of a client, and the policy a flow is granted under
 * (PT-80, PT-83).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, type UnixMs, unixMs } from "../../base/index.ts";
import { type Circumstances, checkConditions, mayHoldAt } from "./conditions.ts";
import type { Actor, ConditionProperty, ConfiguredResource, Group, Policy, PortalModel } from "./model.ts";
import { identityOf } from "./view.ts";

/** Who asks, and from where. */
export interface Subject {
  readonly actor: Actor;
  readonly circumstances: Circumstances;
  readonly tokenExpiresAt?: UnixMs;
}

export type Grant =
  | { readonly kind: "granted"; readonly policy: Policy; readonly expiresAt?: UnixMs }
  | { readonly kind: "forbidden"; readonly violated: readonly ConditionProperty[] }
  | { readonly kind: "not-found" };

/** Names everything of policy and resource whose change ends an authorisation (PT-90). */
export function basisOf(policy: Policy, resource: ConfiguredResource): string {
  const text = JSON.stringify([identityOf(resource), policy.groupId, policy.conditions]);
  return toHex(sha256(new TextEncoder().encode(text))).slice(0, 32);
}

/**
 * The resources that this client can connect to now, in the order of the configuration (PT-80), and
 * when the passing of time alone will change that.
 */
export function connectableResources(
  model: PortalModel,
  subject: Subject,
): { readonly resources: readonly ConfiguredResource[]; readonly changesAt?: UnixMs } {
  const resources: ConfiguredResource[] = [];
  let changesAt: UnixMs | undefined;
  for (const resource of model.resources.values()) {
    const grant = decideGrant(model, subject, resource.id);
    if (grant.kind === "forbidden") changesAt = earlier(changesAt, beginsAt(model, subject, resource.id));
    if (grant.kind !== "granted") continue;
    resources.push(resource);
    changesAt = earlier(changesAt, grant.expiresAt);
  }
  return changesAt === undefined ? { resources } : { resources, changesAt };
}

/** When the first of the policies that do not hold now may hold, because its time comes (PT-82). */
function beginsAt(model: PortalModel, subject: Subject, rid: string): UnixMs | undefined {
  return policiesOf(model, subject.actor, rid)
    .map((policy) => mayHoldAt(policy, subject.circumstances))
    .reduce(earlier, undefined);
}

/**
 * The fulfilled policy with the latest expiry, or all that is violated (PT-83). It expires with the
 * conditions or with the token, whichever is earlier.
 */
export function decideGrant(model: PortalModel, subject: Subject, rid: string): Grant {
  if (!model.resources.has(rid) || subject.actor.isDisabled) return { kind: "not-found" };
  const policies = policiesOf(model, subject.actor, rid);
  if (policies.length === 0) return { kind: "not-found" };
  const violated = new Set<ConditionProperty>();
  let best: { readonly policy: Policy; readonly until: UnixMs | undefined } | undefined;
  for (const policy of policies) {
    const result = checkConditions(policy, subject.circumstances);
    if (!result.holds) {
      for (const property of result.violated) violated.add(property);
    } else if (best === undefined || isLater(result.until, best.until)) {
      best = { policy, until: result.until };
    }
  }
  if (best === undefined) return { kind: "forbidden", violated: [...violated] };
  const expiresAt = earlier(best.until, subject.tokenExpiresAt);
  return { kind: "granted", policy: best.policy, ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** Whether this one policy still grants the resource to the subject, and until when. */
export function checkPolicy(
  model: PortalModel,
  subject: Subject,
  policyId: string,
): { readonly expiresAt?: UnixMs } | undefined {
  const policy = model.policies.get(policyId);
  if (policy === undefined || subject.actor.isDisabled) return undefined;
  if (!policiesOf(model, subject.actor, policy.resourceId).includes(policy)) return undefined;
  const result = checkConditions(policy, subject.circumstances);
  if (!result.holds) return undefined;
  const expiresAt = earlier(result.until, subject.tokenExpiresAt);
  return expiresAt === undefined ? {} : { expiresAt };
}

/** The enabled policies of a resource that concern the actor. */
export function policiesOf(model: PortalModel, actor: Actor, rid: string): readonly Policy[] {
  return (model.policiesByResource.get(rid) ?? []).filter((policy) => {
    if (policy.isDisabled) return false;
    const group = model.groups.get(policy.groupId);
    return group !== undefined && isMember(group, actor);
  });
}

function isMember(group: Group, actor: Actor): boolean {
  return group.memberIds.has(actor.id) || (group.isEveryone && actor.type === "user");
}

/** `undefined` is "never" and so later than everything. */
function isLater(a: UnixMs | undefined, b: UnixMs | undefined): boolean {
  return b !== undefined && (a === undefined || a > b);
}

function earlier(a: UnixMs | undefined, b: UnixMs | undefined): UnixMs | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return unixMs(Math.min(a, b));
}
