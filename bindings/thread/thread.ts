/**
 * A thread as the plane's workers need it, and the thread's own end of it. Another runtime has to offer no
 * more than this. Messages arrive in order; what is shared memory stays shared.
 */
export interface Thread<Sent, Received> {
  post(message: Sent): void;
  onMessage(handle: (message: Received) => void): void;
  /** A new thread does not keep the process alive; from here on it does, until it has ended. */
  keepAlive(): void;
  /** Resolves when the thread has ended, however it did. */
  readonly exited: Promise<void>;
  /** Rejects when it dies of an error; does not resolve. */
  readonly failed: Promise<never>;
}

/** The end that the code of a thread holds. */
export interface ThreadPort<Sent, Received> {
  post(message: Sent): void;
  /** Every message from now on. The thread lives until `close`. */
  onMessage(handle: (message: Received) => void): void;
  /** No message is awaited any more, so the thread ends. */
  close(): void;
}

export interface ThreadBackEnd {
  /** Starts a thread that runs the module at `url`. */
  start<Sent, Received>(url: URL, name: string): Thread<Sent, Received>;
  /** The port of the thread that executes this; undefined in a thread that no `start` made. */
  port<Sent, Received>(): ThreadPort<Sent, Received> | undefined;
}
