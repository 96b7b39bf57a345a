/**
 * The limits of one actor. Nothing in it grows without one of these. Each is a whole number of at
 * least 1, or `Infinity`; at any other `Behavior.make` throws `SettingsRefused`.
 */
import * as Context from "effect/Context"

export interface Limits {
  /**
   * Messages that may wait, those of a batch under way not included. Default 4096: a second of
   * work at the rate of a durable actor on an ordinary disk.
   */
  readonly mailbox: number
  /**
   * What happens to a `tell` that finds the mailbox full: it fails with `MailboxFull`, or it is
   * dropped and counted. An `ask` always fails, and so does a signal, because it may be the only
   * result of an effect. Default `"fail"`.
   */
  readonly overflow: "fail" | "drop"
  /**
   * Messages that may be stashed. Default 1024: a stash is for the length of a handshake. A signal
   * that finds no room there crashes the actor, because no caller would learn of its loss.
   */
  readonly stash: number
  /**
   * Callers that may wait for an answer that a later decision gives. Default 4096, as many as may
   * wait in the mailbox.
   */
  readonly waiting: number
  /**
   * Messages that one turn takes together, and so the commands that one append can cover.
   * Default 256: it bounds how long an actor keeps the thread.
   */
  readonly batch: number
  /**
   * Events written behind that may wait for the journal before the actor waits too.
   * Default 1024.
   */
  readonly unwritten: number
  /**
   * States or events that a subscriber of `states` or `events` may lag behind; after that it misses
   * the oldest ones. Default 1024. The journal has all events.
   */
  readonly watch: number
}

export const defaults: Limits = {
  mailbox: 4096,
  overflow: "fail",
  stash: 1024,
  waiting: 4096,
  batch: 256,
  unwritten: 1024,
  watch: 1024
}

/**
 * Recoveries that may read one journal at the same time. Default 50: enough to keep a disk busy,
 * few enough that thousands of actors that start together do not hold all their histories. At
 * least 1; at another value, a recovery is a defect.
 */
export const MaxRecoveries = Context.Reference<number>("handfast/actors/MaxRecoveries", {
  defaultValue: () => 50
})
