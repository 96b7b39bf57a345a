/**
 * Connecting, listening and accepting as effects that can be interrupted at any moment: an
 * attempt is waited for until it has ended, and a connection is taken only in a step that cannot
 * be interrupted.
 */
import * as Effect from "effect/Effect"
import * as Lane from "../Lane.ts"
import { OpenFailed } from "../OpenFailed.ts"
import type { Crew } from "./crew.ts"
import type { OpenFailure } from "./jobs.ts"
import type { LaneCore } from "./laneCore.ts"
import type { Opener } from "./opener.ts"

/** The error of a failed job. */
export const failed = (address: string, failure: OpenFailure): OpenFailed =>
  new OpenFailed({ address, ...failure })

/**
 * An attempt to open a connection: the resource that a lane's Scope holds. However early the
 * Scope closes, releasing it waits until the attempt has failed or its lane has ended.
 */
export class Attempt {
  readonly #ticket: { readonly cancel: () => void }
  #core: LaneCore | undefined
  #failure: OpenFailed | undefined
  #wake: Array<() => void> = []

  constructor(
    crew: Crew,
    what: Pick<Opener, "job" | "commands">,
    inWorker: boolean,
    address: string
  ) {
    const settle = (): void => {
      for (const wake of this.#wake.splice(0)) wake()
    }
    const opener: Opener = {
      ...what,
      opened: (core) => {
        this.#core = core
        settle()
      },
      failed: (failure) => {
        this.#failure = failed(address, failure)
        settle()
      },
      listening: () => {},
      accepted: () => {}
    }
    this.#ticket = crew.open(opener, inWorker)
  }

  /** Waits for the connection. */
  readonly result: Effect.Effect<LaneCore, OpenFailed> = Effect.suspend(() => {
    if (this.#core !== undefined) return Effect.succeed(this.#core)
    if (this.#failure !== undefined) return Effect.fail(this.#failure)
    return Effect.andThen(this.#settled, this.result)
  })

  readonly release: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#core !== undefined) return Lane.close(this.#core)
    if (this.#failure !== undefined) return Effect.void
    this.#ticket.cancel()
    return Effect.andThen(
      this.#settled,
      Effect.suspend(() => (this.#core === undefined ? Effect.void : Lane.abort(this.#core)))
    )
  })

  readonly #settled = Effect.callback<void>((resume) => {
    this.#wake.push(() => resume(Effect.void))
  })
}

interface Bound {
  readonly address: string
  readonly port: number
  readonly close: Effect.Effect<void>
}

export const listenOn = (
  crew: Crew,
  waiting: AcceptQueue,
  inWorker: boolean,
  address: string,
  what: Pick<Opener, "job" | "commands">
): Effect.Effect<Bound, OpenFailed> =>
  Effect.callback((resume) => {
    const close = Effect.suspend(() => {
      ticket.cancel()
      return waiting.close
    })
    const ticket = crew.listen(
      {
        ...what,
        opened: () => {},
        failed: (failure) => resume(Effect.fail(failed(address, failure))),
        listening: (address, port) => resume(Effect.succeed({ address, port, close })),
        accepted: (core) => waiting.offer(core)
      },
      inWorker
    )
    return close
  })

/** Connections that nobody has accepted yet. */
export class AcceptQueue {
  readonly #limit: number
  readonly #waiting: Array<LaneCore> = []
  #wake: Array<() => void> = []
  #closed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  offer(core: LaneCore): void {
    if (this.#closed || this.#waiting.length >= this.#limit) core.abort()
    else {
      this.#waiting.push(core)
      this.#wake.shift()?.()
    }
  }

  /** Takes a connection only in the step that cannot be interrupted, so none is lost. */
  next(restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<LaneCore> {
    return Effect.suspend(() => {
      const core = this.#waiting.shift()
      if (core !== undefined) {
        core.start()
        return Effect.succeed(core)
      }
      return Effect.andThen(restore(this.#available), this.next(restore))
    })
  }

  /** Closes what nobody accepted. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#closed = true
    const waiting = this.#waiting.splice(0)
    return Effect.forEach(waiting, Lane.abort, { discard: true })
  })

  readonly #available = Effect.callback<void>((resume) => {
    const wake = (): void => resume(Effect.void)
    this.#wake.push(wake)
    return Effect.sync(() => {
      const at = this.#wake.indexOf(wake)
      if (at >= 0) this.#wake.splice(at, 1)
      else if (this.#waiting.length > 0) this.#wake.shift()?.()
    })
  })
}
