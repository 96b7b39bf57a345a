/**
 * Goal: a transfer says "moved" only if there was a moment at which the peer had all of it, and a
 * read brings one memory, not parts of two. It holds whichever slice the peer's memory is replaced
 * at, also if the new memory has the address and the keys of the old one.
 * Method: engines on a simulated fabric. Memory is registered anew, or its process is killed and
 * begins again, when the nth slice is posted; keys are drawn from a tape that can be rewound.
 */
import { assert, describe } from "@effect/vitest"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import { TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { Chaos } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, host, pair, pattern } from "./harness.ts"

const kilo = 1 << 10
const slices = 16
const bytes = slices * kilo
const everything = ["local-write", "remote-write", "remote-read"] as const

/** Random words that can be drawn again. */
const tape = Effect.map(Effect.service(WebCrypto.WebCrypto), (crypto) => {
  const words: Array<number> = []
  let at = 0
  const getRandomValues = (into: Uint32Array<ArrayBuffer>) => {
    if (at === words.length) words.push(crypto.getRandomValues(new Uint32Array(1))[0]!)
    into[0] = words[at++]!
    return into
  }
  return {
    crypto: { getRandomValues } as unknown as Crypto,
    mark: () => at,
    rewind: (mark: number) => void (at = mark)
  }
})

interface Scene {
  /** Whether the peer's links and descriptions name its process and its registrations. */
  readonly isNamed: boolean
  readonly how: "registered anew" | "killed"
  readonly op: "write" | "read"
  readonly acknowledges?: boolean
  readonly cards?: number
  readonly onReplaced?: "fail"
  /** The second card is connected only after that. */
  readonly isSecondLater?: boolean
}

/** One transfer whose peer's memory is replaced when the nth slice is posted. */
const replacedAt = Effect.fnUntraced(function* (nth: number, scene: Scene) {
  const { acknowledges = true, cards = 1, how, isNamed, onReplaced, op } = scene
  const replaced = Deferred.makeUnsafe<void>()
  const obstacle = (local: string) =>
    scene.isSecondLater === true && local === "a@y" ? Deferred.await(replaced) : Effect.void
  const words = yield* tape
  const reached = Deferred.makeUnsafe<void>()
  let posts = 0
  const onPost = (_: ReadyLink, { scatterList: parts }: SendRequest) => {
    if (parts.byteLength > 0 && ++posts === nth) Deferred.doneUnsafe(reached, Effect.void)
  }
  const devices = ["x", "y"].slice(0, cards)
  const lab = yield* pair({
    acknowledges,
    devices,
    // Before or after the first card tells that its link is dead.
    settings: { sliceBytes: kilo, hedgeAfterMs: scene.isSecondLater === true ? 2_000 : 20 },
    wires: { queuePairs: 1, depth: 2, isNamed, onPost, obstacle }
  }).pipe(Effect.provideService(WebCrypto.WebCrypto, words.crypto))
  const { a, fabric, net } = lab
  const own = yield* a.register({ memory: bytes, name: "own", access: everything })
  const buffer = new SharedArrayBuffer(bytes)
  let scope = yield* Scope.make()
  let b = lab.b
  const mark = words.mark()
  const register = Effect.fnUntraced(function* (seed: number) {
    // The same address and keys as before, but nothing of the bytes.
    words.rewind(mark)
    const memory = how === "killed" ? buffer : bytes
    const kept = yield* Scope.provide(
      b.register({ memory, name: "kept", access: everything }),
      scope
    )
    kept.bytes.set(op === "read" ? pattern(bytes, seed) : new Uint8Array(bytes))
    const { buffers, nics } = yield* b.description
    const bare = buffers.map(({ address, keys, length, name }) => ({ address, keys, length, name }))
    if (!isNamed) net.said.set("b", { nics, buffers: bare })
    return kept
  })
  const first = yield* register(2)
  own.bytes.set(op === "write" ? pattern(bytes, 1) : new Uint8Array(bytes))
  const isWhole = (found: Uint8Array) => differsAt(pattern(bytes, 1), found) === -1
  const { address } = (yield* b.description).buffers[0]!
  let [current, wasWhole] = [first, false]
  const replace = Effect.gen(function* () {
    yield* Deferred.await(reached)
    wasWhole = isWhole(first.bytes)
    if (how === "killed") {
      fabric.crash("b")
      yield* Scope.close(scope, Exit.void)
      scope = yield* Scope.make()
      const verbs = SimVerbs.layer(fabric, { host: "b", devices })
      b = yield* Scope.provide(host(net, "b", verbs, { devices }), scope)
    } else {
      yield* Scope.close(scope, Exit.void)
      scope = yield* Scope.make()
    }
    current = yield* register(3)
  })
  const replacing = yield* Effect.forkChild(
    Effect.andThen(replace, Deferred.succeed(replaced, undefined))
  )
  const to = how === "killed" && !isNamed ? { address } : { buffer: "kept" }
  const exit = yield* Effect.exit(
    op === "write"
      ? a.write({ peer: "b", from: own.slice(), to, onReplaced })
      : a.read({ peer: "b", from: to, to: own.slice(), onReplaced })
  )
  yield* Fiber.join(replacing)
  return { exit, own, current, wasWhole, isWhole, posts }
})

const arrives = Effect.fnUntraced(function* (scene: Scene) {
  for (let nth = 1; nth <= slices; nth++) {
    const { current, exit, isWhole, own, posts, wasWhole } = yield* replacedAt(nth, scene)
    yield* Chaos.sometimes("it began anew", posts > slices + 2)
    assert.isTrue(Exit.isSuccess(exit), `slice ${nth}: ${JSON.stringify(exit)}`)
    if (scene.op === "write") assert.isTrue(wasWhole || isWhole(current.bytes), `slice ${nth}`)
    else {
      const seeds = [2, 3].filter((seed) => differsAt(pattern(bytes, seed), own.bytes) === -1)
      assert.lengthOf(seeds, 1, `slice ${nth}`)
    }
  }
})

describe.each(["write", "read"] as const)("a %s whose peer's memory is replaced", (op) => {
  const seeds = { seeds: 5, timeout: 120_000 }
  it.sim("T1: moves all of it to one registration, at whatever slice", seeds, () =>
    arrives({ op, how: "registered anew", isNamed: true })
  )
  it.sim("T1: does so too if nothing but keys and addresses tells it", seeds, () =>
    arrives({ op, how: "registered anew", isNamed: false })
  )
  it.sim("T1: moves all of it to one process, at whatever slice", seeds, () =>
    arrives({ op, how: "killed", isNamed: true })
  )
  it.sim(
    "T1: does so too if the process is not named, and has the keys of the last one",
    seeds,
    () => arrives({ op, how: "killed", isNamed: false })
  )
  it.sim("T1: does so too over two cards", seeds, () =>
    arrives({ op, how: "killed", isNamed: false, cards: 2 })
  )
  it.sim("T1: does so too if its second card is connected after that", seeds, () =>
    arrives({ op, how: "killed", isNamed: false, cards: 2, isSecondLater: true })
  )
  it.sim("T1: does so too where writes end before they have arrived", seeds, () =>
    arrives({ op, how: "killed", isNamed: false, acknowledges: false })
  )
  it.sim("T1: fails if its caller prefers that", seeds, () =>
    Effect.gen(function* () {
      for (const how of ["registered anew", "killed"] as const) {
        const scene = { op, how, isNamed: true, onReplaced: "fail" } as const
        const { exit } = yield* replacedAt(slices / 2, scene)
        const error = yield* Effect.flip(exit)
        assert.instanceOf(error, TransferFailed)
        assert.strictEqual((error as TransferFailed).reason, "peer-memory-replaced")
      }
    })
  )
})
