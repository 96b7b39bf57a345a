/**
 * Reads and logs causes that come from a behavior.
 *
 * What a behavior throws may throw itself when it is looked at: an error whose `message` is a
 * getter that throws, a revoked proxy. An application's logger may throw, too. None of that may
 * skip a step in the life of an actor or a supervisor, so the kernel looks at causes and writes to
 * the log only with these functions, and they never fail.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

const orElse = <A>(read: () => A, otherwise: A): A => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

const UNPRINTABLE = "a failure that cannot be printed"

/** Says in a line why something failed. */
export const describe = (cause: Cause.Cause<unknown>): string =>
  orElse(() => String(Cause.squash(cause)), UNPRINTABLE)

/** Says why something failed, with stack traces. */
export const explain = (cause: Cause.Cause<unknown>): string =>
  orElse(() => Cause.pretty(cause), UNPRINTABLE)

/** Whether one of the errors that a cause holds is such a one. Defects are not looked at. */
export const hasError = (
  cause: Cause.Cause<unknown>,
  isSuch: (error: unknown) => boolean
): boolean =>
  cause.reasons.some(
    (reason) => Cause.isFailReason(reason) && orElse(() => isSuch(reason.error), false)
  )

/** Whether a cause is nothing but interruptions and such errors or defects. */
export const isOnly = (cause: Cause.Cause<unknown>, isSuch: (error: unknown) => boolean): boolean =>
  cause.reasons.every((reason) => {
    if (Cause.isInterruptReason(reason)) return true
    return orElse(() => isSuch(Cause.isFailReason(reason) ? reason.error : reason.defect), false)
  })

/**
 * Logs a message and its cause. If a logger throws, all of them get the message once more with the
 * cause as text, since a logger that cannot print the cause can do that.
 */
export const report = (
  severity: "Error" | "Warn",
  message: string,
  cause: Cause.Cause<unknown>,
  annotations: Record<string, unknown>
): Effect.Effect<void> => {
  const log = Effect.logWithLevel(severity)
  return log(message, cause).pipe(
    Effect.catchCause(() => log(`${message}: ${explain(cause)}`)),
    Effect.ignoreCause,
    Effect.annotateLogs(annotations)
  )
}
