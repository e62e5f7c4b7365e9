/**
 * The shape of the portal's configuration file (PT-112). What one value means for another is checked
 * in `build-model.ts`.
 */
import * as v from "valibot";

const text = v.pipe(
  v.string("must be text"),
  v.minLength(1, "must not be empty"),
  v.maxLength(255, "must have at most 255 characters"),
);
const number = v.number("must be a number");
const flag = v.boolean("must be true or false");
const id = v.pipe(
  v.string("must be text"),
  v.regex(
    /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
    "must be a UUID in lower case with hyphens",
  ),
);

const location = v.strictTuple(
  [
    v.pipe(
      number,
      v.minValue(-90, "latitude must be -90 to 90"),
      v.maxValue(90, "latitude must be -90 to 90"),
    ),
    v.pipe(
      number,
      v.minValue(-180, "longitude must be -180 to 180"),
      v.maxValue(180, "longitude must be -180 to 180"),
    ),
  ],
  "must be [latitude, longitude]",
);

function list<S extends v.GenericSchema>(item: S) {
  return v.optional(v.array(item, "must be a list"), []);
}

/** Where the token comes from: exactly one of the four, checked later. */
const tokenSource = {
  name: text,
  hash: v.optional(text),
  file: v.optional(text),
  env: v.optional(text),
  token: v.optional(text),
};

const gatewayToken = v.strictObject(tokenSource, "must be a token");
const relayToken = v.strictObject({ ...tokenSource, location: v.optional(location) }, "must be a token");
const actorToken = v.strictObject({ ...tokenSource, expires_at: v.optional(text) }, "must be a token");

const account = v.strictObject(
  {
    slug: v.pipe(text, v.regex(/^[a-z0-9][a-z0-9_-]*$/, "must be lower-case letters, digits, - and _")),
    name: v.optional(text),
  },
  "must have a slug",
);

const dns = v.strictObject(
  {
    upstream: v.optional(v.picklist(["system", "custom", "doh"], "must be system, custom or doh"), "system"),
    servers: list(text),
    doh: v.optional(
      v.picklist(
        ["google", "quad9", "cloudflare", "opendns"],
        "must be google, quad9, cloudflare or opendns",
      ),
    ),
    search_domain: v.optional(text),
  },
  "must be a mapping",
);

const site = v.strictObject(
  { id: v.optional(id), name: text, location: v.optional(location), gateway_tokens: list(gatewayToken) },
  "must be a site",
);

const actor = v.strictObject(
  {
    id: v.optional(id),
    name: text,
    type: v.picklist(["service_account", "user"], "must be service_account or user"),
    email: v.optional(text),
    disabled: v.optional(flag, false),
    tokens: list(actorToken),
  },
  "must be an actor",
);

const group = v.strictObject({ id: v.optional(id), name: text, members: list(text) }, "must be a group");

const filter = v.variant(
  "protocol",
  [
    v.strictObject({ protocol: v.picklist(["tcp", "udp"]), ports: list(text) }),
    v.strictObject({ protocol: v.literal("icmp") }),
  ],
  "must be tcp, udp or icmp",
);

const resourceCommon = {
  id: v.optional(id),
  name: text,
  address_description: v.optional(text),
  site: text,
  filters: list(filter),
};

const resource = v.variant(
  "type",
  [
    v.strictObject({ ...resourceCommon, type: v.picklist(["cidr", "ip"]), address: text }),
    v.strictObject({
      ...resourceCommon,
      type: v.literal("dns"),
      address: text,
      ip_stack: v.optional(
        v.picklist(["dual", "ipv4_only", "ipv6_only"], "must be dual, ipv4_only or ipv6_only"),
        "dual",
      ),
    }),
    v.strictObject({ ...resourceCommon, type: v.literal("internet") }),
  ],
  "must be cidr, ip, dns or internet",
);

const condition = v.strictObject(
  {
    property: v.picklist(
      [
        "remote_ip",
        "remote_ip_location_region",
        "auth_provider_id",
        "current_utc_datetime",
        "client_verified",
      ],
      "must be remote_ip, remote_ip_location_region, auth_provider_id, current_utc_datetime or client_verified",
    ),
    operator: text,
    values: v.pipe(v.array(text, "must be a list"), v.minLength(1, "must not be empty")),
  },
  "must be a condition",
);

const policy = v.strictObject(
  {
    id: v.optional(id),
    group: text,
    resource: text,
    description: v.optional(text),
    disabled: v.optional(flag, false),
    conditions: list(condition),
    filters: list(filter),
  },
  "must be a policy",
);

export const fileSchema = v.strictObject(
  {
    version: v.literal(1, "must be 1"),
    account: v.optional(account),
    dns: v.optional(dns),
    sites: list(site),
    relay_tokens: list(relayToken),
    actors: list(actor),
    groups: list(group),
    resources: list(resource),
    policies: list(policy),
    devices: v.optional(v.strictObject({ verified: list(text) }, "must be a mapping")),
  },
  "must be a mapping that begins with version: 1",
);

export type PortalFile = v.InferOutput<typeof fileSchema>;
export type FileTokenSource = PortalFile["sites"][number]["gateway_tokens"][number];
export type FileCondition = PortalFile["policies"][number]["conditions"][number];
export type FileResource = PortalFile["resources"][number];
