/** Errors between a caller and an actor, apart from a command's own errors. */
import * as Schema from "effect/Schema"

/**
 * The mailbox or the stash is full, or too many callers wait for a later answer. The message was
 * not taken; nothing happened.
 */
export class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {
  actor: Schema.String,
  queue: Schema.Literals(["mailbox", "stash", "waiting"]),
  limit: Schema.Int
}) {
  override get message() {
    return `${this.actor}: ${this.queue} holds its limit of ${this.limit} messages`
  }
}

/**
 * The actor ended, or it crashed while it worked on this message, or threw at it and goes on.
 *
 * With `outcome: "not-run"` the command had no effect. With `"unknown"` the journal or the process
 * failed while the command was being stored, so it may or may not be in the history. With the
 * reason `"defect"` the command was refused and the actor continues, unless its behavior says
 * `onDefect: "crash"`.
 */
export class Stopped extends Schema.TaggedError<Stopped>()("Stopped", {
  actor: Schema.String,
  reason: Schema.Literals(["stopped", "released", "crashed", "journal", "defect"]),
  outcome: Schema.Literals(["not-run", "unknown"]),
  detail: Schema.String
}) {
  override get message() {
    const detail = this.detail === "" ? "" : `: ${this.detail}`
    const what = this.reason === "defect" ? "refused" : `ended (${this.reason})`
    return `${this.actor} ${what}, command ${this.outcome}${detail}`
  }
}

/** No answer came in time. The command may still run. */
export class AskTimedOut extends Schema.TaggedError<AskTimedOut>()("AskTimedOut", {
  actor: Schema.String,
  command: Schema.String,
  millis: Schema.Finite
}) {
  override get message() {
    return `${this.actor}: no answer to ${this.command} within ${this.millis} ms`
  }
}

/**
 * The history of an actor cannot be turned into a state: an event or snapshot of an unknown
 * type or version, or one that its schema refuses. Nothing was changed.
 */
export class HistoryRefused extends Schema.TaggedError<HistoryRefused>()("HistoryRefused", {
  actor: Schema.String,
  seq: Schema.Int,
  type: Schema.String,
  version: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return (
      `${this.actor}: cannot read ${this.type} (version ${this.version}) ` +
      `at ${this.seq}: ${this.detail}`
    )
  }
}

/**
 * An actor of this address already runs in this process on the same journal. A second one would
 * fence the first, so it was not started.
 */
export class AlreadyRunning extends Schema.TaggedError<AlreadyRunning>()("AlreadyRunning", {
  actor: Schema.String
}) {
  override get message() {
    return `${this.actor} already runs in this process`
  }
}

/** The supervisor takes no children: it has given up restarting, or its Scope has closed. */
export class SupervisorStopped extends Schema.TaggedError<SupervisorStopped>()(
  "SupervisorStopped",
  {
    reason: Schema.Literals(["gave-up", "closed"]),
    detail: Schema.String
  }
) {
  override get message() {
    const detail = this.detail === "" ? "" : `: ${this.detail}`
    return `the supervisor takes no children (${this.reason})${detail}`
  }
}

/** The restarts of a supervisor were used up. Its children have ended. */
export class RestartsExhausted extends Schema.TaggedError<RestartsExhausted>()(
  "RestartsExhausted",
  {
    child: Schema.String,
    restarts: Schema.Int,
    /** `Infinity` if no restart is ever forgotten. */
    withinMillis: Schema.Number,
    lastFailure: Schema.String
  }
) {
  override get message() {
    const { child, lastFailure, restarts, withinMillis } = this
    return `${child} crashed again after ${restarts} restarts in ${withinMillis} ms: ${lastFailure}`
  }
}
