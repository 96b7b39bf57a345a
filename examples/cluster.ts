/**
 * Effect Cluster, unmodified, works on one report on two runners at once: one of them stops for
 * longer than its shard lock lasts, the other takes over, and the first one wakes up.
 */
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import { Faults, Printout, Sim } from "../src/testing/index.ts"
import * as SimCluster from "../src/testing/SimCluster.ts"

const Report = Entity.make("Report", [Rpc.make("Render").annotate(ClusterSchema.Persisted, true)])

export const program = Effect.gen(function* () {
  const cluster = yield* SimCluster.make({ shardsPerGroup: 1 })
  let [newest, older] = ["", ""]
  yield* Sim.invariant("the report is alive on one runner", () => older === "")
  const handlers = Effect.gen(function* () {
    const { host } = yield* Entity.CurrentRunnerAddress
    yield* Sim.note(`the report begins on ${(newest = host)}`)
    const page = Effect.sync(() => void (newest === host || (older = host)))
    return { Render: () => Effect.forever(Effect.delay(page, "1 second")) }
  })
  for (const name of ["runner-1", "runner-2"]) {
    const runner = Layer.provide(Report.toLayer(handlers), cluster.runner(name))
    yield* Sim.process(name, Layer.launch(runner))
  }
  const ask = Effect.flatMap(Report.client, (to) => to("1").Render(undefined, { discard: true }))
  yield* Sim.process("client", Effect.eventually(ask).pipe(Effect.provide(cluster.client)))
  yield* Faults.random({ pause: ["runner-1", "runner-2"], within: "2 minutes" })
  yield* Effect.sleep("4 minutes")
})

const search = Effect.gen(function* () {
  const report = yield* Sim.explore(program, { seeds: 200, shrinkAttempts: 30, traceLines: 30 })
  yield* Console.log(report.failure && Printout.failure(report.failure, report))
})
if (import.meta.main) await Effect.runPromise(search)
