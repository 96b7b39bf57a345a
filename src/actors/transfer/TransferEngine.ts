/**
 * Moves memory to and from peers, over all NICs and rails.
 *
 * Waiting costs nothing: a transfer whose peer is not ready yet is a few numbers in a list. Failed
 * work is tried again on another rail, and a transfer ends once: all of it has moved, or an error
 * names the operations that have not, and then nothing of it is posted any more.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { SettingsRefused } from "../../native/io/PoolError.ts"
import type { CreateError } from "../../native/verbs/VerbsError.ts"
import type { Description, Directory, NoDescription } from "../rdma/Directory.ts"
import type { Links } from "../endpoint/Links.ts"
import type {
  DescriptionFull,
  Memory,
  NameTaken,
  Options as MemoryOptions,
  Piece
} from "../rdma/Memory.ts"
import type { Nics } from "../rdma/Nics.ts"
import type { MailboxFull, Stopped } from "../kernel/ActorError.ts"
import type { Journal } from "../kernel/Journal.ts"
import * as Supervisor from "../kernel/Supervisor.ts"
import type { DurableRequest, Moved, Request, Target, Transfer } from "./Transfer.ts"
import { InvalidTransfer, type TransferError, type TransferFailed } from "./TransferError.ts"
import { make as makeTransfers, type Settings as TransfersSettings } from "./Transfers.ts"
import { moveNamed, toNamed } from "./internal/durable.ts"
import { type Engine, makeEngine } from "./internal/engine.ts"
import { backoffOf, defaults, type Settings } from "./internal/settings.ts"

export {
  /** The default limits of an engine. */
  defaults
}
export type { Settings }

type One = Pick<Request, "peer" | "within" | "onReplaced">

/** Moves the operations of a request. */
export interface Move {
  /**
   * Moves everything, across restarts of the process, and returns when all of it has moved.
   * Interrupting it only ends the waiting: an accepted transfer goes on.
   */
  (request: DurableRequest): Effect.Effect<Moved, TransferError | MailboxFull | Stopped>
  /**
   * Moves everything and returns when all of it has moved. Interrupting it cancels unposted work,
   * waits for posted work, and only then returns.
   */
  (request: Request): Effect.Effect<Moved, TransferError>
}

/** Registers memory and moves it. */
export class TransferEngine extends Context.Service<
  TransferEngine,
  {
    /** Registers memory on all NICs until the Scope closes. */
    readonly register: (
      options: MemoryOptions
    ) => Effect.Effect<Memory, CreateError | NameTaken | DescriptionFull, Scope.Scope>
    /** The description of this side for peers: its NICs and its memory, as they are now. */
    readonly description: Effect.Effect<Description>
    /**
     * Opens the connections that transfers with a peer will use, so that the first one need not
     * wait.
     */
    readonly warm: (peer: string) => Effect.Effect<void, NoDescription | TransferFailed>
    readonly transfer: Move
    /** Starts a transfer whose progress can be watched. It is cancelled when the Scope closes. */
    readonly start: (request: Request) => Effect.Effect<Transfer, TransferError, Scope.Scope>
    /** Moves one piece to the peer. */
    readonly write: (
      request: One & { readonly from: Piece; readonly to: Target }
    ) => Effect.Effect<Moved, TransferError>
    /** Moves one piece from the peer. */
    readonly read: (
      request: One & { readonly from: Target; readonly to: Piece }
    ) => Effect.Effect<Moved, TransferError>
    /** The memory of a name, once it is registered. */
    readonly named: (name: string) => Effect.Effect<Memory>
  }
>()("handfast/actors/transfer/TransferEngine") {
  /** An engine over the local NICs. It has no journal, and refuses durable transfers. */
  static readonly layer = (
    settings: Settings = {}
  ): Layer.Layer<TransferEngine, CreateError | SettingsRefused, Nics | Links | Directory> =>
    Layer.effect(
      TransferEngine,
      Effect.map(makeEngine(settings), (engine) =>
        serviceOf(engine, ({ peer }) => {
          const detail = "this engine has no journal"
          return Effect.fail(new InvalidTransfer({ peer, operation: undefined, detail }))
        })
      )
    )

  /**
   * An engine that keeps durable transfers in the journal, and resumes those that an earlier
   * process has left. `name` is the id of its history. When their actor has spent its restarts,
   * durable transfers fail with `Stopped` until the layer is built anew; others go on.
   */
  static readonly layerDurable = (
    name: string,
    settings: Settings & TransfersSettings = {}
  ): Layer.Layer<
    TransferEngine,
    Supervisor.SpawnError | CreateError | SettingsRefused,
    Nics | Links | Directory | Journal
  > =>
    Layer.effect(
      TransferEngine,
      Effect.gen(function* () {
        const engine = yield* makeEngine(settings)
        const supervisor = yield* Supervisor.make()
        const move = moveNamed(
          (request) => transferOf(engine, request),
          (memory) => engine.named(memory),
          backoffOf({ ...defaults, ...settings })
        )
        const transfers = yield* supervisor.spawn(makeTransfers(move, settings), name)
        return serviceOf(engine, (request) =>
          Effect.flatMap(toNamed(request, settings.within), (named) => transfers.ask.Submit(named))
        )
      })
    )
}

const transferOf = (engine: Engine, request: Request): Effect.Effect<Moved, TransferError> =>
  Effect.scoped(Effect.flatMap(engine.start(request), ({ done }) => done)).pipe(
    Effect.withSpan("TransferEngine.transfer", {
      attributes: { "handfast.peer": request.peer, "handfast.operations": request.ops.length }
    })
  )

const serviceOf = (
  engine: Engine,
  submit: (request: DurableRequest) => Effect.Effect<Moved, TransferError | MailboxFull | Stopped>
): TransferEngine["Service"] => {
  const transfer = (request: Request | DurableRequest) =>
    "durable" in request ? submit(request) : transferOf(engine, request)
  const one = (request: Request) => transferOf(engine, request)
  return {
    register: (options) => engine.register(options),
    description: Effect.sync(() => engine.description),
    warm: (peer) => engine.warm(peer),
    transfer: transfer as Move,
    start: engine.start,
    write: ({ from, to, ...rest }) => one({ ...rest, ops: [{ op: "write", from, to }] }),
    read: ({ from, to, ...rest }) => one({ ...rest, ops: [{ op: "read", from, to }] }),
    named: (name) => engine.named(name)
  }
}
