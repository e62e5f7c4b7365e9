export { type Environment, type HttpProxy, proxyFor, type Target } from "./choice.ts";
export { connectThrough, type ProxyOptions } from "./connect.ts";
export { type Reach, type ReachOptions, type Resolve, reachTarget } from "./reach.ts";
