/** Runs the contract of providers on the first RDMA device of this machine. */
import * as Effect from "effect/Effect"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { casesFor, layerPair, Patience } from "../../../src/testing/VerbsContract.ts"
import { report } from "./report.ts"

const program = Effect.gen(function* () {
  const { capabilities } = yield* Verbs
  const tests = casesFor(capabilities).map(({ name, test }) => ({
    name,
    test: Effect.provide(test, layerPair(IbVerbs.layer()))
  }))
  // Under emulation, on a busy machine.
  yield* Effect.provideService(report(tests), Patience, "5 minutes")
})

await Effect.runPromise(Effect.provide(program, IbVerbs.layer()))
