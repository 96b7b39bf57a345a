/** One client of `effect/rpc` at a server, over all its connections: what it is to be told. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { ReverseCaller } from "../../RpcProgram.ts"
import { deliveryBytes, type Event, maxEvents, maxExitBytes } from "./messages.ts"

/** Bytes of an event beside its request's name and its message. */
const eventBytes = 32

interface Kept {
  readonly number: bigint
  readonly request: string
  readonly message: Uint8Array
}

/** A request whose call is not answered yet: an exit that comes by then goes with the answer. */
interface Answering {
  exit: Uint8Array | undefined
}

export class ServerSession {
  readonly id: Uint8Array
  /** The session's name among those of all principals. */
  readonly name: string
  readonly clientId: number
  readonly caller: ReverseCaller
  /** Done when the session is over. */
  readonly ended = Deferred.makeUnsafe<void>()
  /** Whether events are on their way. */
  isDelivering = false
  /** When the last call of the client ended, if none is under way. */
  idleSince: number
  /** Calls under way. */
  calls = 0
  /** Bytes of events that the client does not have yet. */
  heldBytes = 0
  /** Requests that have not ended. */
  readonly running = new Set<string>()
  /** The longest call in the reverse direction. */
  readonly #inlineBytes: number
  /** Events that were not delivered, and the announced ones that were not fetched. */
  readonly #events: Array<Kept> = []
  readonly #announced = new Map<bigint, Uint8Array>()
  readonly #answering = new Map<string, Answering>()
  /** Requests that were interrupted before they came, the oldest first. */
  readonly #interrupted = new Set<string>()
  #next = 0n
  #isOver = false

  constructor(
    { id, name }: Pick<ServerSession, "id" | "name">,
    clientId: number,
    caller: ReverseCaller,
    inlineBytes: number,
    now: number
  ) {
    this.id = id
    this.name = name
    this.clientId = clientId
    this.caller = caller
    this.#inlineBytes = inlineBytes
    this.idleSince = now
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Nothing is kept any more. */
  end(): void {
    this.#isOver = true
    this.#events.length = 0
    this.#announced.clear()
    Deferred.doneUnsafe(this.ended, Effect.void)
  }

  /** Keeps a message for the client. */
  push(request: string, message: Uint8Array, isExit: boolean): void {
    if (isExit) this.running.delete(request)
    const answering = isExit ? this.#answering.get(request) : undefined
    if (answering !== undefined && message.length <= maxExitBytes) {
      answering.exit = message
      return
    }
    this.#events.push({ number: this.#next++, request, message })
    this.heldBytes += message.length
  }

  /** Hands a request in. Returns its exit, if it has ended by then. */
  handIn(request: string, handIn: Effect.Effect<void>): Effect.Effect<Uint8Array | undefined> {
    return Effect.suspend(() => {
      // An interruption is short, and may overtake a request that is long.
      if (this.#interrupted.delete(request)) return Effect.undefined
      const answering: Answering = { exit: undefined }
      this.running.add(request)
      this.#answering.set(request, answering)
      // In one turn: an exit that comes after the look is an event.
      const taken = Effect.sync(() => {
        this.#answering.delete(request)
        return answering.exit
      })
      return handIn.pipe(
        // A handler that does not wait for anything has ended after this.
        Effect.andThen(() => (answering.exit === undefined ? Effect.yieldNow : Effect.void)),
        Effect.andThen(taken),
        Effect.onInterrupt(() => taken)
      )
    })
  }

  /** Remembers the interruption of a request that is not here, or has ended. */
  interrupt(request: string, limit: number): boolean {
    if (this.running.has(request)) return true
    this.#interrupted.add(request)
    if (this.#interrupted.size > limit) {
      const [oldest] = this.#interrupted
      this.#interrupted.delete(oldest!)
    }
    return false
  }

  /** Whether there are events that were not delivered. */
  get hasEvents(): boolean {
    return this.#events.length > 0
  }

  /** The next events, as many as one call carries. */
  get next(): ReadonlyArray<Event> {
    const batch: Array<Event> = []
    const room = this.#inlineBytes - deliveryBytes
    let bytes = 0
    for (const { message, number, request } of this.#events) {
      const whole = eventBytes + request.length + message.length
      const isWhole = whole <= room
      bytes += isWhole ? whole : eventBytes + request.length
      if (batch.length > 0 && (bytes > room || batch.length === maxEvents)) break
      const body = isWhole
        ? ({ _tag: "Whole", message } as const)
        : ({ _tag: "Announced", bytes: message.length } as const)
      batch.push({ number, request, body })
    }
    return batch
  }

  /** The client has events. Those that were announced stay until it has fetched them. */
  delivered(events: ReadonlyArray<Event>): void {
    for (const { body } of events) {
      if (body._tag === "Whole") this.heldBytes -= body.message.length
    }
    this.#events.splice(0, events.length)
  }

  /** Events are on their way: what they announce can be fetched from then on. */
  announce(events: ReadonlyArray<Event>): void {
    for (const [index, { body, number }] of events.entries()) {
      if (body._tag === "Announced") this.#announced.set(number, this.#events[index]!.message)
    }
  }

  /** The whole message of an event that was announced. */
  fetch(number: bigint, done: ReadonlyArray<bigint>): Uint8Array | undefined {
    for (const one of done) {
      this.heldBytes -= this.#announced.get(one)?.length ?? 0
      this.#announced.delete(one)
    }
    return this.#announced.get(number)
  }
}
