/** Processes that tests start: killed at the latest when the test ends. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"

export const kill = (child: ChildProcess): Effect.Effect<void> =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill("SIGKILL")
    await once(child, "exit")
  })

export const spawn = (
  module: URL,
  ...args: ReadonlyArray<string>
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => fork(module, args)),
    kill
  )

/** The next message of a child. */
export const next = <A>(child: ChildProcess): Effect.Effect<A> =>
  Effect.promise(async () => (await once(child, "message"))[0] as A)
