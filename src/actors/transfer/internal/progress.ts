/** Progress of a transfer, as a stream. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Moved } from "../Transfer.ts"
import type { Job } from "./job.ts"

/** Emits the bytes that have moved, whenever they have changed since the last pull. */
export const progressOf = (job: Job): Stream.Stream<Moved> =>
  Stream.unfold(-1, (seen) =>
    Effect.callback<readonly [Moved, number] | undefined>((resume) => {
      const look = () => {
        const { bytes, isOver, moved } = job
        if (moved === seen && !isOver) return
        job.watchers.delete(look)
        resume(Effect.succeed(moved === seen ? undefined : [{ moved, bytes }, moved]))
      }
      job.watchers.add(look)
      look()
      return Effect.sync(() => job.watchers.delete(look))
    })
  )
