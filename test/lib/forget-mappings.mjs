/**
 * Makes the NAT of a network namespace forget all its mappings, as `conntrack -F` does: one message of
 * ctnetlink. Linux, root; made of our own bindings, so build first.
 *
 *   node forget-mappings.mjs
 */
import { openSysCalls } from "../../build/bindings/sys/index.js";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_NETFILTER = 12;
const NLM_F_REQUEST_ACK = 5;
/** Of the subsystem conntrack (1) the message delete (2); with no attributes it means everything. */
const CT_DELETE = 0x102;
const REQUEST_BYTES = 20;
const ANSWER_BYTES = 36;
/** Where things lie in the memory that the calls see. */
const REQUEST = 64;
const ANSWER = 128;

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const sys = openSysCalls(memory);
const view = new DataView(memory.buffer);
const socket = sys.socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
if (socket < 0) throw new Error(`netlink socket: errno ${sys.errno()}`);

view.setUint32(REQUEST, REQUEST_BYTES, true);
view.setUint16(REQUEST + 4, CT_DELETE, true);
view.setUint16(REQUEST + 6, NLM_F_REQUEST_ACK, true);
// A netlink socket that is not connected writes to the kernel.
if (sys.write(socket, REQUEST, REQUEST_BYTES) !== REQUEST_BYTES)
  throw new Error(`write: errno ${sys.errno()}`);
if (sys.read(socket, ANSWER, ANSWER_BYTES) !== ANSWER_BYTES) throw new Error(`read: errno ${sys.errno()}`);
const error = view.getInt32(ANSWER + 16, true);
if (error !== 0) throw new Error(`conntrack delete: errno ${-error}`);
