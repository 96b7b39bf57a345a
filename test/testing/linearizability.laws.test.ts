/**
 * Goal: every part of the linearizability checker matters to its verdicts, their parts and their
 * words.
 * Method: tables of small histories with the exact verdict, and random histories whose verdict is
 * compared with that of an oracle which tries every order.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Operation } from "../../src/testing/History.ts"
import {
  check,
  counter,
  type CounterInput,
  explain,
  queue,
  type QueueInput,
  register,
  type RegisterInput,
  type Spec
} from "../../src/testing/Linearizability.ts"

type Answer<Output> = { readonly output: Output; readonly returned: number }

const called = <Input, Output>(
  client: string,
  input: Input,
  called: number,
  answer?: Answer<Output>
): Operation<Input, Output> => ({
  client,
  input,
  called,
  ...(answer === undefined ? {} : { answer })
})

const read = { op: "read" } as const
const write = (value: unknown) => ({ op: "write", value }) as const
const swap = (from: unknown, to: unknown) => ({ op: "swap", from, to }) as const
const at = <Output>(returned: number, output: Output): Answer<Output> => ({ output, returned })

type RegisterOperation = Operation<RegisterInput, unknown>

/** The clients in the order that a verdict gives. */
const order = <Input>(operations: ReadonlyArray<Operation<Input, unknown>>) =>
  operations.map(({ client }) => client).join(" ")

const checkRegister = (history: ReadonlyArray<RegisterOperation>, maxTries?: number) =>
  check(register(0), history, maxTries)

describe("orders that are found", () => {
  const found = (history: ReadonlyArray<RegisterOperation>) => {
    const verdict = checkRegister(history)
    return verdict._tag === "Linearizable" ? order(verdict.order) : verdict._tag
  }

  it("an empty history has an empty one", () => {
    assert.deepStrictEqual(checkRegister([]), { _tag: "Linearizable", order: [] })
  })

  it("follow the calls, whatever the order of the list", () => {
    const [w, r] = [called("w", write(1), 0, at(1, undefined)), called("r", read, 2, at(3, 1))]
    assert.strictEqual(found([w, r]), "w r")
    assert.strictEqual(found([r, w]), "w r")
    const [first, second] = [called("a", read, 0, at(9, 0)), called("b", read, 1, at(9, 0))]
    assert.strictEqual(found([second, first]), "a b")
  })

  it("may turn round operations that overlap, and no others", () => {
    const wide = called("w", write(1), 0, at(9, undefined))
    assert.strictEqual(found([wide, called("r", read, 1, at(2, 0))]), "r w")
    // It returned at the very moment of the call: neither was called before the other returned.
    const narrow = called("w", write(1), 0, at(1, undefined))
    assert.strictEqual(found([narrow, called("r", read, 1, at(2, 0))]), "Rejected")
    assert.strictEqual(found([narrow, called("r", read, 0.5, at(2, 0))]), "r w")
  })

  it("end when all answered operations are placed, and leave out the others", () => {
    const lost = called<RegisterInput, unknown>("w", write(1), 1)
    const reader = called<RegisterInput, unknown>("r", read, 0, at(2, 0))
    assert.strictEqual(found([lost, reader]), "r")
    assert.strictEqual(found([lost]), "")
    assert.strictEqual(found([lost, called("r", read, 2, at(3, 1))]), "w r")
  })

  it("take an operation without an answer long after its call", () => {
    const history = [
      called<RegisterInput, unknown>("lost", write(1), 0),
      called("a", read, 1, at(2, 0)),
      called("b", read, 3, at(4, 1))
    ]
    assert.strictEqual(found(history), "a lost b")
  })

  it("hold more operations than a machine word has bits", () => {
    const history = Array.from({ length: 70 }, (_, index) =>
      called<CounterInput, number>(
        "c",
        { op: "add", by: 1 },
        2 * index,
        at(2 * index + 1, index + 1)
      )
    )
    const verdict = check(counter, history)
    assert.strictEqual(verdict._tag === "Linearizable" && verdict.order.length, 70)
  })
})

describe("a rejection", () => {
  it("shows the longest part with an order, and what cannot come next", () => {
    const verdict = checkRegister([
      called("a", write(1), 0, at(1, undefined)),
      called("b", read, 2, at(3, 1)),
      called("c", read, 4, at(6, 7)),
      called("d", read, 5, at(7, 8)),
      called("e", read, 8, at(9, 1))
    ])
    assert(verdict._tag === "Rejected")
    assert.strictEqual(order(verdict.explained), "a b")
    assert.strictEqual(order(verdict.stuck), "c d")
  })

  it("of the first operation has nothing in order", () => {
    const verdict = checkRegister([
      called("a", read, 0, at(2, 1)),
      called("b", read, 1, at(3, 1)),
      called("c", read, 4, at(5, 0))
    ])
    assert(verdict._tag === "Rejected")
    assert.deepStrictEqual(verdict.explained, [])
    assert.strictEqual(order(verdict.stuck), "a b")
  })

  it("keeps the first of the longest parts", () => {
    // `a b` is tried before `b a`, and neither explains what `c` reads.
    const verdict = checkRegister([
      called("a", write(1), 0, at(9, undefined)),
      called("b", write(2), 1, at(9, undefined)),
      called("c", read, 10, at(11, 7))
    ])
    assert(verdict._tag === "Rejected")
    assert.strictEqual(order(verdict.explained), "a b")
    assert.strictEqual(order(verdict.stuck), "c")
  })
})

describe("the memory of the search", () => {
  /** So many writes of one value side by side, and a read of a value that was never written. */
  const writes = (count: number): ReadonlyArray<RegisterOperation> => [
    ...Array.from({ length: count }, (_, index) =>
      called<RegisterInput, unknown>(`w${index}`, write(1), index, at(99, undefined))
    ),
    called("r", read, 100, at(101, 2))
  ]

  it("tries a set of operations that led to a state once: 2^n of them, not n!", () => {
    // Without it, 7 writes have 7! = 5,040 orders and 13,700 prefixes.
    assert.strictEqual(checkRegister(writes(7), 1_000)._tag, "Rejected")
    assert.strictEqual(checkRegister(writes(7), 100)._tag, "GaveUp")
  })

  it("tells states apart: the same set in another order is tried again", () => {
    // After `a b` the value is 2, and only after `b a` it is 1.
    const history = [
      called<RegisterInput, unknown>("a", write(1), 0, at(9, undefined)),
      called<RegisterInput, unknown>("b", write(2), 1, at(9, undefined)),
      called<RegisterInput, unknown>("r", read, 10, at(11, 1))
    ]
    const verdict = checkRegister(history)
    assert.strictEqual(verdict._tag === "Linearizable" && order(verdict.order), "b a r")
  })

  it("tells sets apart that led to the same state", () => {
    // `a` and `b` both lead to 1; which of them is left decides what can follow.
    const history = [
      called<RegisterInput, unknown>("a", swap(0, 1), 0, at(9, true)),
      called<RegisterInput, unknown>("b", write(1), 1, at(9, undefined))
    ]
    const verdict = checkRegister(history)
    assert.strictEqual(verdict._tag === "Linearizable" && order(verdict.order), "a b")
  })

  it("uses the spec's key, by default the state itself", () => {
    const keys: Array<unknown> = []
    const spec = register(0)
    const keyed: Spec<unknown, RegisterInput, unknown> = {
      initial: spec.initial,
      apply: spec.apply,
      key: (state) => {
        keys.push(state)
        return "all states are one"
      }
    }
    const history = [
      called<RegisterInput, unknown>("a", write({ n: 1 }), 0, at(9, undefined)),
      called<RegisterInput, unknown>("b", write({ n: 2 }), 1, at(9, undefined)),
      called<RegisterInput, unknown>("r", read, 10, at(11, { n: 1 }))
    ]
    assert.strictEqual(check(keyed, history)._tag, "Rejected")
    assert.deepStrictEqual(keys.slice(0, 2), [{ n: 1 }, { n: 2 }])
    assert.strictEqual(check(spec, history)._tag, "Linearizable")
  })
})

describe("giving up", () => {
  const history = [
    called<RegisterInput, unknown>("w", write(1), 0, at(1, undefined)),
    called<RegisterInput, unknown>("r", read, 2, at(3, 1))
  ]

  it("comes after so many tries, and not if the last one found an order", () => {
    assert.deepStrictEqual(checkRegister(history, 0), { _tag: "GaveUp", tried: 0 })
    assert.deepStrictEqual(checkRegister(history, 1), { _tag: "GaveUp", tried: 1 })
    assert.strictEqual(checkRegister(history, 2)._tag, "Linearizable")
  })
})

describe("the words of a verdict", () => {
  it("are one line for what is decided or not", () => {
    const order = [called<CounterInput, number>("a", { op: "read" }, 0, at(1, 0))]
    assert.strictEqual(explain({ _tag: "Linearizable", order }), "linearizable: 1 operations")
    assert.strictEqual(explain({ _tag: "GaveUp", tried: 7 }), "not decided after 7 tries")
  })

  it("list what has an order and what cannot come next", () => {
    const text = explain({
      _tag: "Rejected",
      explained: [called<CounterInput, number>("a", { op: "add", by: 2 }, 0, at(1, 2))],
      stuck: [
        called<CounterInput, number>("b", { op: "read" }, 2, at(3, 9)),
        called<CounterInput, number>("c", { op: "read" }, 2)
      ]
    })
    assert.deepStrictEqual(text.split("\n"), [
      "not linearizable. None of these can come next:",
      '  b: {"op":"read"} -> 9',
      '  c: {"op":"read"} -> no answer',
      "after these, the latest first:",
      '  a: {"op":"add","by":2} -> 2'
    ])
  })
})

describe("the specs", () => {
  /** The outputs of inputs one after the other. */
  const outputs = <State, Input, Output>(
    { apply, initial }: Spec<State, Input, Output>,
    inputs: ReadonlyArray<Input>
  ) => {
    let state = initial
    return inputs.map((input) => {
      const [next, output] = apply(state, input)
      state = next
      return output
    })
  }

  it("of a register reads, writes and swaps", () => {
    const inputs = [read, write(5), read, swap(4, 6), read, swap(5, 6), read]
    const expected = [0, undefined, 5, false, 5, true, 6]
    assert.deepStrictEqual(outputs(register(0), inputs), expected)
    // Values are compared by what they hold.
    assert.deepStrictEqual(outputs(register({ n: 1 }), [swap({ n: 1 }, 2), read]), [true, 2])
  })

  it("of a queue gives what came first, or nothing", () => {
    const put = (value: number): QueueInput => ({ op: "enqueue", value })
    const take: QueueInput = { op: "dequeue" }
    assert.deepStrictEqual(outputs(queue, [take, put(1), put(2), take, put(3), take, take, take]), [
      undefined,
      undefined,
      undefined,
      1,
      undefined,
      2,
      3,
      undefined
    ])
  })

  it("of a counter answer the total", () => {
    const add = (by: number): CounterInput => ({ op: "add", by })
    assert.deepStrictEqual(outputs(counter, [read, add(2), read, add(-3), read]), [0, 2, 2, -1, -1])
  })
})

/** Whether any order of any choice of the operations explains the answers: tries all of them. */
const hasOrder = (history: ReadonlyArray<Operation<CounterInput, number>>): boolean => {
  const extend = (state: number, left: ReadonlyArray<Operation<CounterInput, number>>): boolean =>
    left.every(({ answer }) => answer === undefined) ||
    left.some((next) => {
      const rest = left.filter((other) => other !== next)
      if (rest.some(({ answer }) => answer !== undefined && answer.returned <= next.called)) {
        return false
      }
      const [after, output] = counter.apply(state, next.input)
      return (next.answer === undefined || next.answer.output === output) && extend(after, rest)
    })
  return extend(counter.initial, history)
}

/** Numbers below a bound, the same ones for the same seed (mulberry32). */
const random = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

describe("against an oracle that tries every order", () => {
  it("5,000 random histories have the same verdict, and orders explain the answers", () => {
    const verdicts = { Linearizable: 0, Rejected: 0, GaveUp: 0 }
    for (let seed = 1; seed <= 5_000; seed++) {
      const below = random(seed)
      const history = Array.from({ length: 2 + below(4) }, (_, index) => {
        const start = below(12)
        const input: CounterInput = below(2) === 0 ? read : { op: "add", by: 1 }
        const answer = below(6) === 0 ? undefined : at(start + 1 + below(8), below(3))
        return called(`c${index}`, input, start, answer)
      })
      const verdict = check(counter, history)
      verdicts[verdict._tag]++
      const message = `seed ${seed}: ${JSON.stringify(history)}`
      assert.strictEqual(verdict._tag === "Linearizable", hasOrder(history), message)
      if (verdict._tag !== "Linearizable") continue
      let state = counter.initial
      for (const { answer, input } of verdict.order) {
        const [next, output] = counter.apply(state, input)
        state = next
        if (answer !== undefined) assert.strictEqual(answer.output, output, message)
      }
    }
    assert.strictEqual(verdicts.GaveUp, 0)
    assert.isAbove(verdicts.Linearizable, 500)
    assert.isAbove(verdicts.Rejected, 500)
  })
})
