/**
 * Answers the calls that a responder makes in the reverse direction, each executed once over all
 * connections to the same incarnation of it.
 */
import type { Extension } from "../../../schema/rpc/ConnectionData.ts"
import type { Program } from "../RpcProgram.ts"
import { Handlers } from "./handlers.ts"
import type { Incoming } from "./responder.ts"
import type { ReplyCache } from "./replyCache.ts"
import { type RunHandler, serve } from "./serving.ts"
import { type Answer, ClientSession } from "./session.ts"

export interface ReverseSettings {
  readonly programs: ReadonlyArray<Program>
  /** Calls that are taken at once; 0 without programs. */
  readonly calls: number
  /** The caller's name for handlers. */
  readonly principal: string
}

/** Replies kept for the responder, in bytes. They are inline: thousands of small ones. */
const maxCacheBytes = 1 << 20
/** The calls of a lost connection, and those of the next one. */
const handlersPerCall = 2

const nothing = (): void => undefined

export class ReverseServing {
  readonly calls: number
  readonly #settings: ReverseSettings
  readonly #Cache: typeof ReplyCache
  readonly #run: RunHandler
  readonly #handlers: Handlers
  #incarnation = ""
  #session: ClientSession

  constructor(settings: ReverseSettings, Cache: typeof ReplyCache, run: RunHandler) {
    this.calls = settings.calls
    this.#settings = settings
    this.#Cache = Cache
    this.#run = run
    const most = Math.max(1, handlersPerCall * settings.calls)
    this.#handlers = new Handlers({ maxHandlers: most, maxHandlersPerClient: most })
    this.#session = this.#newSession()
  }

  /** A connection is there. Calls of another incarnation than before are other calls. */
  open(extension: Extension | undefined): void {
    const incarnation =
      extension === undefined ? "" : Buffer.from(extension.instance).toString("hex")
    if (incarnation === this.#incarnation) return
    this.#incarnation = incarnation
    this.#session = this.#newSession()
  }

  take(incoming: Incoming): void {
    const { programs } = this.#settings
    const handlers = this.#handlers
    const dispatching = { programs, handlers, proved: nothing, ended: nothing, run: this.#run }
    serve(dispatching, this.#session, incoming)
  }

  #newSession(): ClientSession {
    const cache: ReplyCache<Answer, Incoming> = new this.#Cache({ maxBytes: maxCacheBytes })
    cache.granted(this.calls)
    return new ClientSession(this.#settings.principal, new Uint8Array(0), cache, undefined)
  }
}
