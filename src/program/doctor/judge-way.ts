/** What was seen on the way to portal and relays, and what it means (PG-141). Pure. */
import type { PortalFacts, RelayFacts } from "./facts.ts";
import type { Finding } from "./judge.ts";

/** Conditions by time and certificates go wrong beyond it; most clocks agree within a second. */
const CLOCK_APART_MS_MAX = 60_000;

export function judgePortal(
  { url, addresses, tcp, tls, answer, isTls }: PortalFacts,
  nowMs: number,
): Finding[] {
  if (!addresses.ok) {
    return [fail("portal name", `${url}: ${addresses.reason}`, "look at the name, and at /etc/resolv.conf")];
  }
  const findings = [ok("portal name", `${url} is ${addresses.value.join(", ")}`)];
  if (tcp === undefined) return findings;
  if (!tcp.ok) {
    const remedy = "is the portal running, and does a firewall let its port pass?";
    return [...findings, fail("portal TCP", `no connection: ${tcp.reason}`, remedy)];
  }
  findings.push(ok("portal TCP", `${tcp.value.address} in ${tcp.value.ms} ms`));
  if (tls !== undefined && !tls.ok) {
    const remedy = "trust its authority with --ca-file, or give the portal a certificate for this name";
    return [...findings, fail("portal TLS", tls.reason, remedy)];
  }
  if (tls?.ok) findings.push(ok("portal TLS", `certificate valid until ${tls.value.validTo}`));
  if (answer !== undefined) findings.push(...judgeAnswer(answer, isTls, nowMs));
  return findings;
}

function judgeAnswer(answer: NonNullable<PortalFacts["answer"]>, isTls: boolean, nowMs: number): Finding[] {
  if (!answer.ok) {
    const remedy = isTls ? "is it a portal?" : "is it a portal? if it speaks TLS, use wss://";
    return [fail("portal answer", answer.reason, remedy)];
  }
  const { status, dateMs } = answer.value;
  if (status !== 200) {
    return [fail("portal answer", `HTTP ${status} at /healthz`, "is it a portal? look at its log")];
  }
  const findings = [ok("portal answer", "healthy")];
  if (dateMs === undefined) return findings;
  const apartMs = Math.abs(nowMs - dateMs);
  if (apartMs <= CLOCK_APART_MS_MAX) return findings;
  const says = `this clock and the portal's are ${Math.round(apartMs / 1000)} s apart`;
  return [...findings, warn("portal clock", says, "set the clocks: conditions by time go by the portal's")];
}

export function judgeRelays(relays: readonly RelayFacts[]): Finding[] {
  const findings = relays.map(({ address, binding }) => {
    if (!binding.ok) {
      const remedy = "does a firewall drop UDP, here or there? is it a relay?";
      return fail("relay", `${address} does not answer: ${binding.reason}`, remedy);
    }
    const { mapped, ms } = binding.value;
    return ok("relay", `${address} answers in ${ms} ms and sees ${mapped}`);
  });
  return [...findings, ...judgeMapping(relays)];
}

/** One socket asked several relays: whether they see the same address tells what NAT there is. */
function judgeMapping(relays: readonly RelayFacts[]): Finding[] {
  const seen = relays.flatMap(({ address, binding }) =>
    binding.ok ? [{ isV6: address.startsWith("["), mapped: binding.value.mapped }] : [],
  );
  return [false, true].flatMap((isV6) => {
    const mapped = seen.filter((one) => one.isV6 === isV6).map((one) => one.mapped);
    if (mapped.length < 2) return [];
    const family = isV6 ? "IPv6" : "IPv4";
    if (new Set(mapped).size === 1) {
      return [ok("NAT", `${family}: the same address for every destination; direct paths are likely`)];
    }
    const says = `${family}: another address or port for every destination`;
    return [warn("NAT", says, "forward the UDP port (52625) to this host, or count on relays")];
  });
}

function ok(check: string, says: string): Finding {
  return { check, verdict: "ok", says };
}

function warn(check: string, says: string, remedy: string): Finding {
  return { check, verdict: "warn", says, remedy };
}

function fail(check: string, says: string, remedy: string): Finding {
  return { check, verdict: "fail", says, remedy };
}
