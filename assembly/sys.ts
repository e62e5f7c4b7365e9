/** System calls straight on the shared memory: module "sys" is `SysCalls` of `bindings/sys` (PF-19). */

// @ts-ignore: a decorator
@external("sys", "read")
export declare function sysRead(fd: i32, at: usize, bytes: u32): i32;
// @ts-ignore: a decorator
@external("sys", "write")
export declare function sysWrite(fd: i32, at: usize, bytes: u32): i32;
// @ts-ignore: a decorator
@external("sys", "sendmsg")
export declare function sysSendmsg(fd: i32, message: usize, flags: i32): i32;
// @ts-ignore: a decorator
@external("sys", "recvmsg")
export declare function sysRecvmsg(fd: i32, message: usize, flags: i32): i32;
// @ts-ignore: a decorator
@external("sys", "setsockopt")
export declare function sysSetsockopt(fd: i32, level: i32, name: i32, at: usize, bytes: u32): i32;
/** Returns how many messages were received; there is no time-out. */
// @ts-ignore: a decorator
@external("sys", "recvmmsg")
export declare function sysRecvmmsg(fd: i32, messages: usize, count: u32, flags: i32): i32;
/** Returns how many messages were sent. */
// @ts-ignore: a decorator
@external("sys", "sendmmsg")
export declare function sysSendmmsg(fd: i32, messages: usize, count: u32, flags: i32): i32;
// @ts-ignore: a decorator
@external("sys", "epoll_wait")
export declare function sysEpollWait(epoll: i32, events: usize, count: u32, timeoutMs: i32): i32;
// @ts-ignore: a decorator
@external("sys", "poll")
export declare function sysPoll(set: usize, count: u32, timeoutMs: i32): i32;
// @ts-ignore: a decorator
@external("sys", "clock_gettime")
export declare function sysClockGettime(clock: i32, at: usize): i32;
// @ts-ignore: a decorator
@external("sys", "sched_yield")
export declare function sysYield(): i32;
/** Of the last call of this thread that returned -1. */
// @ts-ignore: a decorator
@external("sys", "errno")
export declare function sysErrno(): i32;
