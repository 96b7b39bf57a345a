/**
 * Formats and logs causes that come from a behavior.
 *
 * A value that a behavior throws may itself throw when it is read: an error whose `message` is a
 * getter that throws, a revoked proxy. An application's logger may throw, too. Neither may skip a
 * step in the life of an actor or a supervisor, so the kernel reads causes and writes to the log
 * only with these functions, which never fail.
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

/** The reason of a failure, in one line. */
export const describe = (cause: Cause.Cause<unknown>): string =>
  orElse(() => String(Cause.squash(cause)), UNPRINTABLE)

/** The reason of a failure, with stack traces. */
export const explain = (cause: Cause.Cause<unknown>): string =>
  orElse(() => Cause.pretty(cause), UNPRINTABLE)

/** Whether a cause holds an error for which the test is true. Defects are not tested. */
export const hasError = (
  cause: Cause.Cause<unknown>,
  isSuch: (error: unknown) => boolean
): boolean =>
  cause.reasons.some(
    (reason) => Cause.isFailReason(reason) && orElse(() => isSuch(reason.error), false)
  )

/** Whether a cause consists only of interruptions and of errors or defects that pass the test. */
export const isOnly = (cause: Cause.Cause<unknown>, isSuch: (error: unknown) => boolean): boolean =>
  cause.reasons.every((reason) => {
    if (Cause.isInterruptReason(reason)) return true
    return orElse(() => isSuch(Cause.isFailReason(reason) ? reason.error : reason.defect), false)
  })

/**
 * Logs a message and its cause. If a logger throws, all loggers get the message once more with the
 * cause as text, which a logger that cannot print the cause can handle.
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
