/** A program that ends with work posted, and closes nothing. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { pair, receiving, sending } from "./ends.ts"

const leave = Effect.gen(function* () {
  const { a, b } = yield* Scope.provide(pair, yield* Scope.make())
  for (let count = 0; count < 16; count++) {
    b.queuePair.postReceive(receiving(b))
    a.queuePair.post(sending(a))
  }
  return yield* Effect.sync(() => process.exit(7))
})

await Effect.runPromise(Effect.provide(leave, IbVerbs.layer()))
