import { expect, it } from "vitest";
import type { BestRoute, Link } from "../../../bindings/linux/index.ts";
import { ip, type Log, SILENT } from "../../../src/base/index.ts";
import { createBestRoutes } from "../../../src/host/index.ts";

const MARK = 0xfd002021;
const link = (index: number, name: string): Link => ({
  index,
  name,
  mtu: 1500,
  isUp: true,
  isLoopback: false,
  isOperational: true,
  txQueueLength: 1000,
});
const TO = ip("192.0.2.1");

function rig(device?: string) {
  const asked: (readonly [string, number | undefined, number | undefined])[] = [];
  const told: unknown[] = [];
  let route: BestRoute | undefined = { outputIndex: 2, gateway: ip("10.0.0.1"), source: ip("10.0.0.2") };
  const log: Log = { ...SILENT, debug: (_event, fields) => told.push(fields) };
  const routes = createBestRoutes({
    rtnetlink: {
      links: () => [link(2, "eth0"), link(3, "wlan0")],
      bestRoute(destination, mark, outputIndex) {
        asked.push([destination.join("."), mark, outputIndex]);
        return route && outputIndex !== undefined ? { ...route, outputIndex } : route;
      },
    },
    mark: MARK,
    device,
    log,
  });
  return {
    routes,
    asked,
    told,
    setRoute: (to: BestRoute | undefined) => {
      route = to;
    },
  };
}

it("PG-62: the kernel is asked once for each destination, with our mark, until the network changes", () => {
  const { routes, asked, told, setRoute } = rig();
  const found = { device: "eth0", gateway: ip("10.0.0.1"), source: ip("10.0.0.2") };
  expect([routes.find(TO), routes.find(TO)]).toEqual([found, found]);
  expect(asked).toEqual([["192.0.2.1", MARK, undefined]]);
  expect(told).toEqual([{ destination: "192.0.2.1", device: "eth0" }]);
  setRoute({ outputIndex: 9 });
  expect(routes.find(TO)).toEqual(found);
  routes.reset();
  // An interface that came since has no name yet.
  expect(routes.find(TO)).toEqual({ device: "9" });
});

it("PG-62: that there is no way is not remembered", () => {
  const { routes, asked, setRoute } = rig();
  setRoute(undefined);
  expect(routes.find(TO)).toBeUndefined();
  setRoute({ outputIndex: 3 });
  expect(routes.find(TO)).toEqual({ device: "wlan0" });
  expect(asked).toHaveLength(2);
});

it("PG-62: of 1,024 destinations the one that was used least recently goes first", () => {
  const { routes, asked } = rig();
  const at = (i: number) => ip(`10.1.${i >> 8}.${i & 255}`);
  for (let i = 0; i < 1024; i++) routes.find(at(i));
  routes.find(at(0));
  routes.find(at(1024));
  asked.length = 0;
  routes.find(at(0));
  expect(asked).toEqual([]);
  routes.find(at(1));
  expect(asked).toHaveLength(1);
});

it("PG-62: with --egress-interface only its ways count; without the interface there is none", () => {
  const { routes, asked } = rig("wlan0");
  expect(routes.find(TO)?.device).toBe("wlan0");
  expect(asked).toEqual([["192.0.2.1", MARK, 3]]);
  const gone = rig("ppp0");
  expect(gone.routes.find(TO)).toBeUndefined();
  expect(gone.asked).toEqual([]);
});
