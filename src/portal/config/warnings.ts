/** What a file says that has no effect: no mistake, but seldom meant (PT-195). */
import type { PortalModel } from "../server/model.ts";

/** One line each. */
export function warningsOf(model: PortalModel): readonly string[] {
  const granted = new Set(
    [...model.policies.values()].filter((one) => !one.isDisabled).map((one) => one.resourceId),
  );
  const withGateways = new Set(
    [...model.tokens.values()].filter(({ kind }) => kind === "gateway").map(({ ownerId }) => ownerId),
  );
  return [...model.resources.values()].flatMap(({ id, name, siteId }) => {
    const site = model.sites.get(siteId);
    return [
      ...(granted.has(id) ? [] : [`resource '${name}': no policy grants it`]),
      ...(site === undefined || withGateways.has(siteId)
        ? []
        : [`resource '${name}': no gateway can serve it, because site '${site.name}' has no token`]),
    ];
  });
}
