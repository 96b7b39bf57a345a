/**
 * Goal: the policies choose what the textbook says, and never what may not go.
 * Method: every short sequence of steps, and long random ones, side by side with a naive model
 * that keeps an array and an index.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Eviction from "../../../src/actors/link/internal/eviction.ts"

type Step = readonly ["add" | "touch" | "remove" | "hold" | "evict", key: number]

/** The textbook: newest first, the hand counts from the front. */
class Model {
  entries: Array<{ key: number; visited: boolean }> = []
  hand: number | undefined = undefined

  readonly isSieve: boolean

  constructor(isSieve: boolean) {
    this.isSieve = isSieve
  }

  touch(key: number) {
    const entry = this.entries.find((one) => one.key === key)
    if (entry !== undefined) entry.visited = this.isSieve
    return entry !== undefined
  }

  add(key: number) {
    if (this.touch(key)) return
    this.entries.unshift({ key, visited: false })
    if (this.hand !== undefined) this.hand += 1
  }

  remove(key: number) {
    const at = this.entries.findIndex((one) => one.key === key)
    if (at < 0) return
    this.entries.splice(at, 1)
    if (this.hand === undefined || this.hand < at) return
    this.hand = this.hand === 0 ? undefined : this.hand - 1
  }

  evict(mayGo: (key: number) => boolean): number | undefined {
    if (!this.isSieve) this.hand = undefined
    if (!this.entries.some(({ key }) => mayGo(key))) {
      // All are passed over, and the hand is back where it was.
      return undefined
    }
    for (;;) {
      const at = this.hand ?? this.entries.length - 1
      const entry = this.entries[at]!
      if (mayGo(entry.key) && !entry.visited) {
        this.entries.splice(at, 1)
        this.hand = at === 0 ? undefined : at - 1
        return entry.key
      }
      if (mayGo(entry.key)) entry.visited = false
      this.hand = at === 0 ? undefined : at - 1
    }
  }
}

const agree = (isSieve: boolean, steps: ReadonlyArray<Step>) => {
  const policy = isSieve ? Eviction.sieve<number>() : Eviction.fifo<number>()
  const model = new Model(isSieve)
  const held = new Set<number>()
  const mayGo = (key: number) => !held.has(key)
  for (const [step, key] of steps) {
    if (step === "hold") {
      if (!held.delete(key)) held.add(key)
    } else if (step === "evict") {
      const victim = policy.evict(mayGo)
      const expected = model.evict(mayGo)
      if (victim !== expected) assert.strictEqual(victim, expected, JSON.stringify(steps))
    } else {
      policy[step](key)
      model[step](key)
    }
    if (policy.size !== model.entries.length) assert.fail(`sizes: ${JSON.stringify(steps)}`)
  }
}

/** Calls back with every sequence of so many steps, one array for all of them. */
const each = (length: number, choices: ReadonlyArray<Step>, visit: (s: Array<Step>) => void) => {
  const steps: Array<Step> = []
  const descend = () => {
    if (steps.length === length) return visit(steps)
    for (const choice of choices) {
      steps.push(choice)
      descend()
      steps.pop()
    }
  }
  descend()
}

const keys = [0, 1, 2]
const of = (name: Step[0]) => keys.map((key): Step => [name, key])

describe.each([
  ["SIEVE", true],
  ["FIFO", false]
] as const)("%s", (_, isSieve) => {
  it("R20: agrees with the textbook after every sequence of 6 steps", () => {
    const choices = [...of("add"), ...of("touch"), ["evict", 0] as const]
    each(6, choices, (steps) => agree(isSieve, steps))
  })

  it("R20: agrees with it when entries are held and removed, after every sequence of 4", () => {
    const full = of("add")
    const choices = [...full, ...of("touch"), ...of("remove"), ...of("hold"), ["evict", 0] as const]
    each(4, choices, (steps) => agree(isSieve, [...full, ...steps, ["evict", 0], ["evict", 0]]))
  })

  it.prop(
    "R20: agrees with it over long random sequences",
    [
      Schema.Array(
        Schema.Tuple([
          Schema.Literals(["add", "add", "touch", "remove", "hold", "evict", "evict"]),
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
        ])
      ).check(Schema.isMaxLength(200))
    ],
    ([steps]) => agree(isSieve, steps)
  )

  it("R20: a connecting or busy entry never goes", () => {
    const policy = isSieve ? Eviction.sieve<string>() : Eviction.fifo<string>()
    for (const key of ["busy", "idle", "connecting"]) policy.add(key)
    const mayGo = (key: string) => key === "idle"
    assert.strictEqual(policy.evict(mayGo), "idle")
    assert.isUndefined(policy.evict(mayGo))
    assert.strictEqual(policy.size, 2)
  })
})

describe("SIEVE", () => {
  it("R20: keeps what is used, and not what is new", () => {
    const sieve = Eviction.sieve<string>()
    for (const key of ["a", "b", "c"]) sieve.add(key)
    sieve.touch("a")
    assert.strictEqual(
      sieve.evict(() => true),
      "b"
    )
    sieve.add("d")
    // The hand goes on at c; d is newer, and a has lost its mark.
    assert.strictEqual(
      sieve.evict(() => true),
      "c"
    )
  })
})
