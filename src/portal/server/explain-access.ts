/** Whether a client may reach a resource, in words, from the configuration alone (PT-196). */
import { formatPrefix, type UnixMs, unreachable } from "../../base/index.ts";
import { type Filter, permitsService, type Service } from "../protocol/index.ts";
import { policiesOf } from "./access.ts";
import { checkCondition } from "./conditions.ts";
import type { Actor, Condition, ConfiguredResource, Policy, PortalModel } from "./model.ts";

export interface AccessQuestion {
  readonly actor: Actor;
  readonly resource: ConfiguredResource;
  /** Absent: whether anything of the resource may be reached. */
  readonly service?: Service;
  readonly wallNow: UnixMs;
}

export interface AccessAnswer {
  readonly isAllowed: boolean;
  /** The first says it, the others say by what. */
  readonly lines: readonly string[];
}

/** Conditions about the device and its address are named instead of judged: the file does not know them. */
export function explainAccess(model: PortalModel, question: AccessQuestion): AccessAnswer {
  const { actor, resource, service, wallNow } = question;
  if (actor.isDisabled) return forbidden(`${actor.name} is disabled`);
  const policies = policiesOf(model, actor, resource.id);
  if (policies.length === 0) return forbidden(whyNoPolicy(model, question));
  const open = policies.filter((policy) => violatedOf(policy, wallNow).length === 0);
  if (open.length === 0) {
    return forbidden(
      "the conditions of every policy are violated",
      ...policies.map(
        (policy) => `${policyText(model, policy)}: ${conditionTexts(violatedOf(policy, wallNow))}`,
      ),
    );
  }
  if (service !== undefined && !permitsService(resource.filters, service)) {
    return forbidden(`the filters of ${resource.name} let pass only ${filterTexts(resource.filters)}`);
  }
  const what = service === undefined ? filterTexts(resource.filters) : serviceText(service);
  return {
    isAllowed: true,
    lines: [
      `allowed: ${actor.name} may reach ${resource.name}, ${what}`,
      ...open.map((policy) => {
        const unknown = policy.conditions.filter(isOfDevice);
        const proviso = unknown.length === 0 ? "" : `, if ${conditionTexts(unknown)}`;
        return `by ${policyText(model, policy)}${proviso}`;
      }),
    ],
  };
}

function forbidden(why: string, ...more: readonly string[]): AccessAnswer {
  return { isAllowed: false, lines: [`forbidden: ${why}`, ...more] };
}

function whyNoPolicy(model: PortalModel, { actor, resource }: AccessQuestion): string {
  const all = model.policiesByResource.get(resource.id) ?? [];
  if (all.length === 0) return `no policy grants ${resource.name}`;
  const groups = all.map((policy) => {
    const name = model.groups.get(policy.groupId)?.name ?? policy.groupId;
    return policy.isDisabled ? `${name} (disabled)` : name;
  });
  return `no policy grants ${resource.name} to ${actor.name}; there are policies for ${groups.join(", ")}`;
}

function policyText(model: PortalModel, { groupId, resourceId }: Policy): string {
  const [group, resource] = [model.groups.get(groupId), model.resources.get(resourceId)];
  return `the policy ${group?.name ?? groupId} → ${resource?.name ?? resourceId}`;
}

/** Only the device that connects decides these. */
function isOfDevice({ property }: Condition): boolean {
  return property === "remote_ip" || property === "client_verified";
}

function violatedOf({ conditions }: Policy, wallNow: UnixMs): readonly Condition[] {
  // The address and the mark are never looked at: conditions about them are left out.
  const circumstances = { wallNow, remote: new Uint8Array(4), isVerified: false };
  return conditions.filter((one) => !isOfDevice(one) && !checkCondition(one, circumstances).holds);
}

function conditionTexts(conditions: readonly Condition[]): string {
  return conditions.map(conditionText).join(" and ");
}

function conditionText(condition: Condition): string {
  switch (condition.property) {
    case "remote_ip":
      return `remote_ip ${condition.operator} ${condition.prefixes.map(formatPrefix).join(", ")}`;
    case "remote_ip_location_region":
    case "auth_provider_id":
      return `${condition.property} ${condition.operator} ${condition.values.join(", ")}`;
    case "current_utc_datetime":
      return "the time of day lies in its ranges";
    case "client_verified":
      return condition.isRequired ? "the device is verified" : "client_verified is false";
    default:
      return unreachable(condition);
  }
}

function filterTexts(filters: readonly Filter[]): string {
  return filters.length === 0 ? "every protocol and port" : filters.map(filterText).join(", ");
}

function filterText(filter: Filter): string {
  switch (filter.protocol) {
    case "tcp":
    case "udp": {
      const { protocol, firstPort, lastPort } = filter;
      if (firstPort === 0 && lastPort === 65535) return protocol;
      return firstPort === lastPort ? `${protocol} ${firstPort}` : `${protocol} ${firstPort}-${lastPort}`;
    }
    case "icmp":
    case "unknown":
      return filter.protocol;
    default:
      return unreachable(filter);
  }
}

function serviceText(service: Service): string {
  return "port" in service ? `${service.protocol} ${service.port}` : service.protocol;
}
