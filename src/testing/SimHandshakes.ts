/**
 * A simulated network for the handshakes of endpoints.
 *
 * Messages take some time each way. In a simulation they are lost, come late or twice, as chaos
 * sites of the run: `handshake lost`, `handshake late`, `handshake twice`, `handshake answer lost`,
 * `handshake answer late`. Acknowledgements and offers can also be forged.
 *
 * Make it outside of the simulated processes: it is the network between them.
 */

import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { Chaos } from "../actors/kernel/Chaos.ts"
import { Epochs } from "../actors/kernel/Epochs.ts"
import type { Reception } from "../actors/endpoint/EndpointStore.ts"
import {
  type Acknowledgement,
  type Farewell,
  type HandshakeError,
  HandshakeFailed,
  Handshakes,
  type Offer,
  type Rejected
} from "../actors/endpoint/Handshake.ts"
import { EpochSource } from "../schema/Epoch.ts"

/** Least duration of a message, in milliseconds, and the longest addition. */
const [SHORTEST, SPREAD] = [0.05, 0.2]
export interface Options {
  /** The longest delay of a late message, in milliseconds. Default 20 s. */
  readonly latestMs?: number | undefined
  /** Milliseconds until a caller gives up. Default 60 s, as over TCP. */
  readonly giveUpAfterMs?: number | undefined
}

/** The number of kept messages, which can be forged. */
const REMEMBERED = 8

/** The handler of a path, and the context of its process. */
interface Server {
  readonly reception: Reception
  readonly context: Context.Context<never>
  readonly instance: () => string | undefined
}

/** Handles a message at its receiver. */
type Handle<A> = (reception: Reception, server: Server) => Effect.Effect<A, Rejected>

export class SimHandshakes {
  readonly #servers = new Map<string, Server>()
  /** The newest acknowledgements and offers, to be forged. */
  readonly #acknowledgements: Array<Acknowledgement> = []
  readonly #offers: Array<Offer> = []
  readonly #latestMs: number
  readonly #giveUpAfterMs: number

  constructor({ giveUpAfterMs = 60_000, latestMs = 20_000 }: Options = {}) {
    this.#latestMs = latestMs
    this.#giveUpAfterMs = giveUpAfterMs
  }

  /**
   * Takes handshakes for a path from now on, in the process of the caller, which is of this
   * instance. Default: the one of its epochs.
   */
  serve(
    path: string,
    reception: Reception,
    instance?: () => string | undefined
  ): Effect.Effect<void> {
    return Effect.contextWith((context: Context.Context<never>) => {
      const ofProcess = () => Context.get(context, Epochs).instance
      const server = { reception, context, instance: instance ?? ofProcess }
      return Effect.sync(() => void this.#servers.set(path, server))
    })
  }

  /** The client of the endpoints of a process. */
  readonly layer: Layer.Layer<Handshakes> = Layer.succeed(Handshakes, {
    offer: (offer: Offer) => {
      remember(this.#offers, offer)
      return this.#call(offer.to, (to) => to.takeOffer(offer))
    },
    acknowledge: (ack: Acknowledgement) => {
      remember(this.#acknowledgements, ack)
      return this.#call(ack.to, (to) => to.takeAcknowledgement(ack))
    },
    farewell: (farewell: Farewell) => this.#call(farewell.to, (to) => to.takeFarewell(farewell)),
    // Each call is served at once.
    answeredAt: () => 0,
    instanceAt: (path) =>
      // A request for an instance is never refused.
      Effect.catchTag(
        this.#call(path, (_, server) => Effect.sync(server.instance)),
        "Rejected",
        Effect.die
      )
  })

  /** Sends an old acknowledgement again, to its receiver or to its sender. */
  readonly forge: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const old = this.#acknowledgements[yield* Random.nextIntBetween(0, REMEMBERED)]
    if (old === undefined) return
    const turned = { ...old, from: old.to, to: old.from }
    const ack = (yield* Random.nextBoolean) ? old : turned
    yield* Effect.ignore(this.#call(ack.to, (to) => to.takeAcknowledgement(ack)))
  })

  /**
   * Forges an offer: an earlier one, in the name of another process at that path, or of a path
   * without a process.
   */
  readonly forgeOffer: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const old = this.#offers[yield* Random.nextIntBetween(0, REMEMBERED)]
    if (old === undefined) return
    const from = (yield* Random.nextBoolean) ? old.from : `stranger@${old.from}`
    const epoch = new EpochSource(yield* Random.nextIntBetween(0, 0xffff_ffff)).next()
    const half = (yield* Random.nextBoolean) ? old.half : { ...old.half, epoch }
    yield* Effect.ignore(this.#call(old.to, (to) => to.takeOffer({ ...old, from, half })))
  })

  #call<A>(to: string, handle: Handle<A>): Effect.Effect<A, HandshakeError> {
    const call = Effect.gen({ self: this }, function* () {
      const chaos = yield* Chaos
      const twice = chaos.fires("handshake twice")
      const late = chaos.fires("handshake late")
      const lost = chaos.fires("handshake lost")
      const answerLost = chaos.fires("handshake answer lost")
      const [there, again, back] = [yield* trip, yield* trip, yield* trip]
      const delay = late ? this.#latestMs * (yield* Random.next) : there
      if (twice) this.#deliver(to, handle, delay + again, () => undefined)
      const exit = yield* Effect.callback<Exit.Exit<A, HandshakeError>>((resume) => {
        if (lost) return
        const answer = (exit: Exit.Exit<A, HandshakeError>) => resume(Effect.succeed(exit))
        this.#deliver(to, handle, delay, answer)
      })
      if (answerLost) return yield* Effect.never
      yield* Effect.sleep(chaos.fires("handshake answer late") ? this.#latestMs * back : back)
      return yield* exit
    })
    return Effect.timeoutOrElse(call, {
      duration: this.#giveUpAfterMs,
      orElse: () => Effect.fail(failed(to, "answer", `none within ${this.#giveUpAfterMs} ms`))
    })
  }

  /** Runs the receiver's part in its process, also if the sender has gone since. */
  #deliver<A>(
    to: string,
    handle: Handle<A>,
    delay: number,
    answer: (exit: Exit.Exit<A, HandshakeError>) => void
  ): void {
    const server = this.#servers.get(to)
    if (server === undefined) {
      return answer(Exit.fail(failed(to, "connect", "no listener")))
    }
    const handled = Effect.delay(
      Effect.suspend(() => handle(server.reception, server)),
      delay
    )
    Effect.runForkWith(server.context)(handled).addObserver((exit) => {
      // A receiver that breaks ends the connection without an answer.
      const isBroken = Exit.isFailure(exit) && !Cause.hasFails(exit.cause)
      answer(isBroken ? Exit.fail(failed(to, "answer", "the connection broke")) : exit)
    })
  }
}

const remember = <A>(messages: Array<A>, message: A): void => {
  messages.unshift(message)
  messages.length = Math.min(messages.length, REMEMBERED)
}

const trip = Effect.map(Random.next, (share) => SHORTEST + SPREAD * share)

const failed = (peer: string, step: HandshakeFailed["step"], detail: string): HandshakeFailed =>
  new HandshakeFailed({ peer, step, detail })
