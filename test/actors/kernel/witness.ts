/**
 * What is known outside of the actors: every stored event, each answer, and what each life of a
 * process has seen. Contradictions become faults, which an invariant of the simulation reads.
 */
import { deepStrictEqual } from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type { Store } from "../../../src/actors/kernel/Journal.ts"
import type { Append } from "../../../src/schema/JournalRecord.ts"
import { type Event, fold, type State } from "./account.ts"

export class Witness {
  /** What should not have happened. */
  readonly faults: Array<string> = []
  /** All events of each actor; the journal itself deletes old ones. */
  readonly #stored = new Map<string, Array<Event>>()
  #op = 0
  answers = 0
  /** No more faults and no more requests. */
  isCalm = false

  readonly fault = (what: string): void => void this.faults.push(what)

  readonly nextOp = (): number => ++this.#op

  stored(id: string): ReadonlyArray<Event> {
    return this.#stored.get(`Account/${id}`) ?? []
  }

  /** How many stored events callers may rely on. */
  promises(id: string): number {
    return this.stored(id).filter(({ _tag }) => _tag !== "Noted").length
  }

  /** A journal in memory that keeps the witness informed, in the step that stores the events. */
  watched(memory: Store): Store {
    return {
      ...memory,
      append: (request) =>
        Effect.suspend(() => {
          const stored = Effect.runSyncExit(memory.append(request))
          if (Exit.isSuccess(stored)) this.#store(request)
          return stored
        })
    }
  }

  #store({ actor, events, expected }: Append): void {
    const all = this.#stored.get(actor) ?? []
    this.#stored.set(actor, all)
    if (all.length !== expected) this.fault(`${actor}: appended after ${expected}`)
    for (const { body, type } of events) all.push({ ...JSON.parse(body), _tag: type })
  }

  /** An answered deposit is stored once, and the answer is the count after it. */
  deposited(id: string, op: number, count: number): void {
    this.answers++
    const deposits = this.stored(id).filter(({ _tag }) => _tag === "Deposited")
    const at = deposits.flatMap((event, index) => ("op" in event && event.op === op ? [index] : []))
    if (at.length !== 1) this.fault(`deposit ${op} of ${id} is stored ${at.length} times`)
    else if (at[0] !== count - 1) this.fault(`deposit ${op} of ${id} is not number ${count}`)
  }

  /** An answered transfer is completed, once. */
  transferred(id: string, op: number, answer: number): void {
    this.answers++
    const times = this.stored(id).filter(
      (event) => event._tag === "Completed" && event.op === op
    ).length
    if (answer !== op || times !== 1) this.fault(`transfer ${op} of ${id} is stored ${times} times`)
  }

  /** A state or an answer tells of stored events only. */
  shown(id: string, promises: number, what: string): void {
    if (promises > this.promises(id)) {
      this.fault(`${what} of ${id} shows ${promises} of ${this.promises(id)}: not durable`)
    }
  }
}

interface Hold {
  readonly id: string
  isHeld: boolean
}

/** One life of a process: what ends with it. */
export class Life {
  readonly witness: Witness
  readonly #generations = new Map<string, number>()
  readonly #held = new Map<string, number>()
  asksUnderWay = 0

  constructor(witness: Witness) {
    this.witness = witness
  }

  get held(): number {
    return [...this.#held.values()].reduce((sum, count) => sum + count, 0)
  }

  generationOf(id: string): number {
    return this.#generations.get(id) ?? 0
  }

  /** A recovered state is the fold of all stored events, also when it came from a snapshot. */
  recovered(id: string, generation: number, last: number, state: State): void {
    this.#generations.set(id, generation)
    try {
      deepStrictEqual(state, fold(this.witness.stored(id).slice(0, last)))
    } catch {
      this.witness.fault(`${id} has recovered a state that is not the fold of ${last} events`)
    }
  }

  /** A signal of an older epoch or generation is never decided. */
  signalled(id: string, from: { epoch: string; generation: number }, { epoch }: State): void {
    if (from.epoch !== epoch) this.witness.fault(`a stale signal of an epoch of ${id}`)
    if (from.generation !== this.generationOf(id)) {
      this.witness.fault(`a stale signal of a generation of ${id}`)
    }
  }

  /** Effects run for stored events only. */
  reacted(id: string, { promises }: State): void {
    this.witness.shown(id, promises, "an effect")
  }

  acquire(id: string): Effect.Effect<Hold> {
    return Effect.sync(() => {
      const holders = (this.#held.get(id) ?? 0) + 1
      this.#held.set(id, holders)
      if (holders > 1) this.witness.fault(`${id} holds two epochs at once`)
      return { id, isHeld: true }
    })
  }

  readonly release = (hold: Hold): Effect.Effect<void> =>
    Effect.andThen(
      Effect.flatMap(Random.nextIntBetween(0, 30), (millis) => Effect.sleep(millis)),
      Effect.sync(() => {
        if (!hold.isHeld) this.witness.fault(`${hold.id} has released an epoch twice`)
        hold.isHeld = false
        this.#held.set(hold.id, (this.#held.get(hold.id) ?? 0) - 1)
      })
    )

  /** Counts an ask until it has ended in any way. */
  asking<A, E>(ask: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.acquireUseRelease(
      Effect.sync(() => void this.asksUnderWay++),
      () => ask,
      () => Effect.sync(() => void this.asksUnderWay--)
    )
  }
}
