/**
 * Moves memory to and from peers, over as many cards and ways as there are.
 *
 * Waiting costs nothing: a transfer whose peer is not ready yet is a few numbers in a list. What
 * can fail on the way is tried again elsewhere, and a transfer ends once: all of it has moved, or
 * an error says what has not, and then nothing of it is posted any more.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { CreateError } from "../../native/verbs/VerbsError.ts"
import type { Description, Directory, NoDescription } from "./Directory.ts"
import type { Links } from "./Links.ts"
import type { Memory, NameTaken, Options as MemoryOptions, Piece } from "./Memory.ts"
import type { Nics } from "./Nics.ts"
import type { Moved, Request, Target, Transfer } from "./Transfer.ts"
import type { TransferError, TransferFailed } from "./TransferError.ts"
import { makeEngine } from "./transfer/engine.ts"
import { defaults, type Settings } from "./transfer/settings.ts"

export {
  /**
   * The limits of an engine, in milliseconds and numbers.
   *
   * @category settings
   * @since 0.1.0
   */
  defaults
}
export type {
  /**
   * @category settings
   * @since 0.1.0
   */
  Settings
}

type One = Pick<Request, "peer" | "within">

/**
 * The service.
 *
 * @category services
 * @since 0.1.0
 */
export class TransferEngine extends Context.Service<
  TransferEngine,
  {
    /** Registers memory on all cards until the Scope closes. */
    readonly register: (
      options: MemoryOptions
    ) => Effect.Effect<Memory, CreateError | NameTaken, Scope.Scope>
    /** What peers may be told of this side: its cards and its memory, as they are now. */
    readonly description: Effect.Effect<Description>
    /** Makes ready what transfers with a peer will need, so that the first one waits no longer. */
    readonly warm: (peer: string) => Effect.Effect<void, NoDescription | TransferFailed>
    /**
     * Moves everything and returns when all of it has moved. Interrupting it takes back what has
     * not been posted, waits for what has, and only then returns.
     */
    readonly transfer: (request: Request) => Effect.Effect<Moved, TransferError>
    /** A transfer to look at while it lasts. It is cancelled when the Scope closes. */
    readonly start: (request: Request) => Effect.Effect<Transfer, TransferError, Scope.Scope>
    /** Moves one piece to the peer. */
    readonly write: (
      request: One & { readonly from: Piece; readonly to: Target }
    ) => Effect.Effect<Moved, TransferError>
    /** Moves one piece from the peer. */
    readonly read: (
      request: One & { readonly from: Target; readonly to: Piece }
    ) => Effect.Effect<Moved, TransferError>
    /** The memory of a name, as soon as it is registered. */
    readonly named: (name: string) => Effect.Effect<Memory>
  }
>()("handfast/actors/endpoint/TransferEngine") {
  /**
   * An engine over the own cards.
   *
   * @since 0.1.0
   */
  static readonly layer = (
    settings: Partial<Settings> = {}
  ): Layer.Layer<TransferEngine, never, Nics | Links | Directory> =>
    Layer.effect(
      TransferEngine,
      Effect.map(makeEngine(settings), (engine) => {
        const transfer = (request: Request): Effect.Effect<Moved, TransferError> =>
          Effect.scoped(Effect.flatMap(engine.start(request), ({ done }) => done)).pipe(
            Effect.withSpan("TransferEngine.transfer", {
              attributes: {
                "handfast.peer": request.peer,
                "handfast.operations": request.ops.length
              }
            })
          )
        return {
          register: engine.register,
          description: Effect.sync(() => engine.description),
          warm: engine.warm,
          transfer,
          start: engine.start,
          write: ({ from, to, ...one }) => transfer({ ...one, ops: [{ op: "write", from, to }] }),
          read: ({ from, to, ...one }) => transfer({ ...one, ops: [{ op: "read", from, to }] }),
          named: (name) => engine.named(name)
        }
      })
    )
}
