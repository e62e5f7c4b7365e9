/** In which order the host looks for names (nsswitch.conf(5)), as far as it keeps names from us (DN-110). */
import { readOrEmpty } from "./resolver-settings.ts";

const NSSWITCH = "/etc/nsswitch.conf";

/** Whether multicast is asked for names below `.local`, before DNS or instead of it. */
export function asksMulticastFirst(path = NSSWITCH): boolean {
  const hosts = readOrEmpty(path)
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .findLast((line) => line.startsWith("hosts:"));
  const services = hosts?.replace("hosts:", "").trim().split(/\s+/) ?? [];
  const mdns = services.findIndex((service) => /^mdns[46]?(_minimal)?$/.test(service));
  const dns = services.findIndex((service) => service === "dns" || service === "resolve");
  return mdns >= 0 && (dns < 0 || mdns < dns);
}
