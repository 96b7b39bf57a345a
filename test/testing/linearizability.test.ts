/**
 * Goal: the checker accepts what one sequential object could have answered and nothing else.
 * Method: histories known to be good or bad, and random ones that are judged by trying every order.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Ref from "effect/Ref"
import { History, Linearizability, Sim } from "../../src/testing/index.ts"
import type { Operation } from "../../src/testing/History.ts"
import { Prng } from "../../src/testing/internal/sim/prng.ts"

/** `call(client, input, called, output, returned)`; without an output there was no answer. */
const call = <Input, Output>(
  client: string,
  input: Input,
  called: number,
  ...answer: [] | [output: Output, returned: number]
): Operation<Input, Output> =>
  answer.length === 0
    ? { client, input, called }
    : { client, input, called, answer: { output: answer[0], returned: answer[1] } }

const register = (...history: ReadonlyArray<Operation<Linearizability.RegisterInput, unknown>>) =>
  Linearizability.check(Linearizability.register(0), history)._tag
const queue = (...history: ReadonlyArray<Operation<Linearizability.QueueInput, unknown>>) =>
  Linearizability.check(Linearizability.queue, history)._tag

const read = { op: "read" } as const
const write = (value: number) => ({ op: "write", value }) as const
const swap = (from: number, to: number) => ({ op: "swap", from, to }) as const
const put = (value: string) => ({ op: "enqueue", value }) as const
const take = { op: "dequeue" } as const

describe("a register", () => {
  it("may answer old or new while a write is under way", () => {
    const [a, b] = [call("w", write(1), 0, undefined, 5), call("r", read, 1, 0, 2)]
    assert.strictEqual(register(a, b), "Linearizable")
    assert.strictEqual(register(a, call("r", read, 1, 1, 2)), "Linearizable")
    assert.strictEqual(register(a, b, call("r", read, 3, 1, 4)), "Linearizable")
  })

  it("must not answer old after new, nor old after the write returned", () => {
    const a = call("w", write(1), 0, undefined, 9)
    assert.strictEqual(register(a, call("r", read, 1, 1, 2), call("s", read, 3, 0, 4)), "Rejected")
    const done = call("w", write(1), 0, undefined, 1)
    assert.strictEqual(register(done, call("r", read, 2, 0, 3)), "Rejected")
  })

  it("lets one of two equal swaps happen", () => {
    const first = call("a", swap(0, 1), 0, true, 3)
    assert.strictEqual(register(first, call("b", swap(0, 2), 1, false, 2)), "Linearizable")
    assert.strictEqual(register(first, call("b", swap(0, 2), 1, true, 2)), "Rejected")
  })

  it("an operation without an answer may have happened or not", () => {
    const lost = call<Linearizability.RegisterInput, unknown>("w", write(1), 0)
    assert.strictEqual(register(lost, call("r", read, 1, 1, 2)), "Linearizable")
    assert.strictEqual(register(lost, call("r", read, 1, 0, 2)), "Linearizable")
    const [late, back] = [call("r", read, 1, 1, 2), call("s", read, 3, 0, 4)]
    assert.strictEqual(register(lost, late, back), "Rejected")
  })
})

describe("a queue", () => {
  it("keeps the order of enqueues that follow each other", () => {
    const [a, b] = [call("p", put("a"), 0, undefined, 1), call("p", put("b"), 2, undefined, 3)]
    assert.strictEqual(queue(a, b, call("c", take, 4, "a", 5)), "Linearizable")
    assert.strictEqual(queue(a, b, call("c", take, 4, "b", 5)), "Rejected")
  })

  it("gives each value once, and is not empty when it is not", () => {
    const a = call("p", put("a"), 0, undefined, 1)
    const twice = [call("c", take, 2, "a", 5), call("d", take, 3, "a", 4)]
    assert.strictEqual(queue(a, ...twice), "Rejected")
    assert.strictEqual(queue(a, call("c", take, 2, undefined, 3)), "Rejected")
  })
})

describe("a verdict", () => {
  it("shows what could be explained and what is stuck", () => {
    const verdict = Linearizability.check(Linearizability.counter, [
      call("a", { op: "add", by: 2 }, 0, 2, 1),
      call("b", { op: "add", by: 3 }, 2, 3, 3)
    ])
    const text = Linearizability.explain(verdict)
    assert.match(text, /None of these[^]*b: .*"by":3.* -> 3[^]*after[^]*a: .*"by":2.* -> 2/)
  })

  it("gives up after so many tries", () => {
    const history = Array.from({ length: 12 }, (_, i) =>
      call(`c${i}`, { op: "add", by: 2 ** i } as const, i, 2 ** 13, 100 + i)
    )
    const verdict = Linearizability.check(Linearizability.counter, history, 5)
    assert.deepStrictEqual(verdict, { _tag: "GaveUp", tried: 5 })
  })
})

/** Whether some order of the operations is one that the model could have answered. */
const explainable = <State, Input, Output>(
  spec: Linearizability.Spec<State, Input, Output>,
  state: State,
  left: ReadonlyArray<Operation<Input, Output>>
): boolean =>
  left.every(({ answer }) => answer === undefined) ||
  left.some((next) => {
    const others = left.filter((other) => other !== next)
    const precedes = others.some(({ answer }) => answer && answer.returned < next.called)
    if (precedes) return false
    const [after, output] = spec.apply(state, next.input)
    const fits = next.answer === undefined || Equal.equals(output, next.answer.output)
    return fits && explainable(spec, after, others)
  })

describe("the search", () => {
  it("S7: tries a set of operations again when it led to another state", () => {
    // Both writes overlap: 1 then 2 leads to 2, which the reader did not see; 2 then 1 leads to 1.
    const [a, b] = [call("a", write(1), 0, undefined, 2), call("b", write(2), 1, undefined, 3)]
    assert.strictEqual(register(a, b, call("r", read, 4, 1, 5)), "Linearizable")
    assert.strictEqual(register(a, b, call("r", read, 4, 2, 5)), "Linearizable")
    assert.strictEqual(register(a, b, call("r", read, 4, 0, 5)), "Rejected")
  })

  it("S7: judges random histories as one that tries every order", () => {
    const prng = new Prng(1, "histories")
    const verdicts = { Linearizable: 0, Rejected: 0, GaveUp: 0 }
    for (let n = 0; n < 2_000; n++) {
      const places = Array.from({ length: 10 }, (_, at) => ({ at, key: prng.double() }))
        .toSorted((a, b) => a.key - b.key)
        .map(({ at }) => at)
      const history = Array.from({ length: 5 }, (_, client) => {
        const [called, returned] = places
          .slice(2 * client, 2 * client + 2)
          .toSorted((a, b) => a - b)
        const input = prng.chance(0.5) ? read : write(prng.below(3))
        const output = input.op === "read" ? prng.below(3) : undefined
        const isLost = prng.chance(0.1)
        return call<Linearizability.RegisterInput, unknown>(
          `c${client}`,
          input,
          called!,
          ...(isLost ? ([] as const) : ([output, returned!] as const))
        )
      })
      const verdict = register(...history)
      verdicts[verdict]++
      const spec = Linearizability.register(0)
      const expected = explainable(spec, spec.initial, history) ? "Linearizable" : "Rejected"
      assert.strictEqual(verdict, expected, JSON.stringify(history))
    }
    assert.isAbove(verdicts.Linearizable, 200)
    assert.isAbove(verdicts.Rejected, 200)
  })
})

describe("with a simulation", () => {
  /** Two clients of a shared counter, whose `add` is atomic or not. */
  const clients = (atomic: boolean) =>
    Effect.gen(function* () {
      const history = History.make<Linearizability.CounterInput, number>()
      const total = yield* Ref.make(0)
      const add = (by: number) =>
        atomic
          ? Ref.updateAndGet(total, (n) => n + by)
          : Effect.gen(function* () {
              const before = yield* Ref.get(total)
              yield* Effect.yieldNow
              yield* Ref.set(total, before + by)
              return before + by
            })
      const client = Effect.fnUntraced(function* (name: string) {
        for (const by of [1, 10]) yield* history.record(name, { op: "add", by }, add(by))
        yield* history.record(name, read, Ref.get(total))
      })
      yield* Effect.all([client("a"), client("b"), client("c")], { concurrency: "unbounded" })
      const verdict = Linearizability.check(Linearizability.counter, history.operations())
      if (verdict._tag !== "Linearizable") {
        return yield* Effect.fail(Linearizability.explain(verdict))
      }
    })

  it.effect("every run of an atomic counter is accepted", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(clients(true), { seeds: 500 })
      assert.strictEqual(report.failure, undefined)
    })
  )

  it.effect("a counter that loses updates is found", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(clients(false), { seeds: 500 })
      assert.match(report.failure?.message ?? "", /not linearizable/)
    })
  )
})

describe("B20: a register of any values", () => {
  const pairs: ReadonlyArray<readonly [unknown, unknown]> = [
    [null, NaN],
    [{ a: undefined }, {}],
    [[undefined], [null]],
    [new Map([[1, 2]]), new Map([[3, 4]])],
    [new Set([1]), new Set([2])],
    [0n, 1n]
  ]
  for (const [first, second] of pairs) {
    it(`${String(first)} and ${String(second)} are told apart`, () => {
      const write = (value: unknown) => ({
        client: "w",
        input: { op: "write" as const, value },
        called: 0,
        answer: { returned: 1, output: undefined }
      })
      const read = (output: unknown) => ({
        client: "r",
        input: { op: "read" as const },
        called: 2,
        answer: { returned: 3, output }
      })
      for (const value of [first, second]) {
        const history = [write(first), write(second), read(value)]
        const verdict = Linearizability.check(Linearizability.register(0n), history)
        assert.strictEqual(verdict._tag, "Linearizable")
      }
      const never = [write(first), write(second), read("other")]
      const verdict = Linearizability.check(Linearizability.register(0n), never)
      assert.strictEqual(verdict._tag, "Rejected")
    })
  }
})
