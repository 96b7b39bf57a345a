/** The other contestants of the actor bench. Each adds `count` times and answers with the sum. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"

/** Bytes of heap and of memory outside of it, after a collection. */
export const heap = (): number => {
  const collect = (globalThis as { gc?: () => void }).gc
  collect?.()
  collect?.()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** The usual actor in Effect: a fiber that takes from a queue and completes a Deferred. */
export const queueActor = (count: number): Promise<number> =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<{ n: number; reply: Deferred.Deferred<number> }>()
    let sum = 0
    yield* Effect.forkScoped(
      Effect.gen(function* () {
        while (true) {
          const { n, reply } = yield* Queue.take(queue)
          sum += n
          Deferred.doneUnsafe(reply, Effect.succeed(sum))
        }
      })
    )
    let last = 0
    for (let i = 0; i < count; i++) {
      const reply = Deferred.makeUnsafe<number>()
      Queue.offerUnsafe(queue, { n: 1, reply })
      last = yield* Deferred.await(reply)
    }
    return last
  }).pipe(Effect.scoped, Effect.runPromise)

/** What one would write by hand: an array, and a microtask that empties it. */
class PlainMailbox {
  #messages: Array<{ n: number; reply: (sum: number) => void }> = []
  #sum = 0

  send(n: number, reply: (sum: number) => void) {
    if (this.#messages.length === 0) queueMicrotask(() => this.#drain())
    this.#messages.push({ n, reply })
  }

  #drain() {
    const messages = this.#messages
    this.#messages = []
    for (const { n, reply } of messages) {
      this.#sum += n
      reply(this.#sum)
    }
  }
}

export const plainActor = (count: number): Promise<number> =>
  Effect.gen(function* () {
    const mailbox = new PlainMailbox()
    let last = 0
    for (let i = 0; i < count; i++) {
      last = yield* Effect.callback<number>((resume) =>
        mailbox.send(1, (sum) => resume(Effect.succeed(sum)))
      )
    }
    return last
  }).pipe(Effect.runPromise)

/** An entity of Effect's cluster, with everything in memory. */
export const entity = async (count: number): Promise<number> => {
  const [Entity, TestRunner, Rpc, Layer] = await Promise.all([
    import("effect/cluster/Entity"),
    import("effect/cluster/TestRunner"),
    import("effect/rpc/Rpc"),
    import("effect/Layer")
  ])
  const Add = Rpc.make("Add", { payload: { n: Schema.Int }, success: Schema.Int })
  const Counter = Entity.make("Counter", [Add])
  const live = Counter.toLayer(
    Effect.sync(() => {
      let sum = 0
      return Counter.of({ Add: ({ payload }) => Effect.sync(() => (sum += payload.n)) })
    })
  )
  return Effect.gen(function* () {
    const counter = (yield* Counter.client)("1")
    let last = 0
    for (let i = 0; i < count; i++) last = yield* counter.Add({ n: 1 })
    return last
  }).pipe(Effect.provide(Layer.provideMerge(live, TestRunner.layer)), Effect.runPromise)
}

const nactCounter = async () => {
  const { dispatch, query, spawn, start, stop } = await import("nact")
  type Message = { readonly n: number; readonly reply?: Parameters<typeof dispatch>[0] }
  const system = start()
  const actor = spawn(system, (sum: number = 0, { n, reply }: Message) => {
    if (reply !== undefined) dispatch(reply, sum + n)
    return sum + n
  })
  const ask = (n: number): Promise<number> => query(actor, (reply) => ({ n, reply }), 60_000)
  const tell = (n: number) => dispatch(actor, { n })
  return { ask, tell, end: () => stop(system) }
}

export const nactAsk = async (count: number): Promise<number> => {
  const { ask, end } = await nactCounter()
  let last = 0
  for (let i = 0; i < count; i++) last = await ask(1)
  end()
  return last
}

export const nactTell = async (count: number): Promise<number> => {
  const { ask, end, tell } = await nactCounter()
  for (let i = 0; i < count; i++) tell(1)
  const sum = await ask(0)
  end()
  return sum
}

const xstateMachine = async () => {
  const { assign, createActor, setup } = await import("xstate")
  type Message = { readonly type: "add"; readonly n: number }
  const machine = setup({
    types: { context: {} as { sum: number }, events: {} as Message }
  }).createMachine({
    context: { sum: 0 },
    on: { add: { actions: assign({ sum: ({ context, event }) => context.sum + event.n }) } }
  })
  return createActor(machine).start()
}

export const xstateAsk = async (count: number): Promise<number> => {
  const { waitFor } = await import("xstate")
  const actor = await xstateMachine()
  let last = 0
  for (let i = 0; i < count; i++) {
    const expected = last + 1
    actor.send({ type: "add", n: 1 })
    last = (await waitFor(actor, ({ context }) => context.sum >= expected)).context.sum
  }
  return last
}

export const xstateTell = async (count: number): Promise<number> => {
  const actor = await xstateMachine()
  for (let i = 0; i < count; i++) actor.send({ type: "add", n: 1 })
  return actor.getSnapshot().context.sum
}

export const xstateReducerTell = async (count: number): Promise<number> => {
  const { createActor, fromTransition } = await import("xstate")
  type Message = { readonly type: "add"; readonly n: number }
  const actor = createActor(fromTransition((sum: number, { n }: Message) => sum + n, 0)).start()
  for (let i = 0; i < count; i++) actor.send({ type: "add", n: 1 })
  return actor.getSnapshot().context
}
