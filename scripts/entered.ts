/**
 * Lists the files of `src` whose code runs while one node writes 64 KiB to another over an open
 * connection: how much one has to read to understand a write. Both nodes and their sockets are on
 * the main thread, so all of it is counted. `node scripts/entered.ts`
 */
import { Session } from "node:inspector/promises"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../src/actors/kernel/Journal.ts"
import { TransferEngine } from "../src/actors/transfer/TransferEngine.ts"
import { TransferNode } from "../src/actors/transfer/TransferNode.ts"
import * as IwarpVerbs from "../src/native/iwarp/IwarpVerbs.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const bytes = 65_536

const node = Layer.build(
  TransferNode.layer({
    host: "127.0.0.1",
    peers: ["127.0.0.1"],
    handshake: { port: 0 }
  }).pipe(Layer.provide([IwarpVerbs.layer({ on: "main" }), Journal.layerMemory]))
)

/** The functions that have run since the last call, as `file:offset`. */
const take = Effect.fnUntraced(function* (session: Session) {
  const { result } = yield* Effect.promise(() => session.post("Profiler.takePreciseCoverage"))
  return result
    .filter(({ url }) => url.startsWith("file:"))
    .map(({ functions, url }) => ({ functions, file: relative(root, fileURLToPath(url)) }))
    .filter(({ file }) => file.startsWith("src/"))
    .flatMap(({ file, functions }) =>
      // The first function of a file is the module itself.
      functions
        .slice(1)
        .map(({ ranges: [range] }) => range!)
        .filter(({ count }) => count > 0)
        .map(({ startOffset }) => `${file}:${startOffset}`)
    )
})

const program = Effect.gen(function* () {
  const [local, remote] = [yield* node, yield* node]
  const writer = Context.get(local, TransferEngine)
  const { server: peer } = Context.get(remote, TransferNode)
  const owner = Context.get(remote, TransferEngine)
  yield* owner.register({ name: "inbox", memory: bytes, access: ["local-write", "remote-write"] })
  const outbox = yield* writer.register({ memory: bytes })
  const write = writer.write({ peer, from: outbox.slice(), to: { buffer: "inbox" } })
  // The first write opens the connection.
  yield* write
  const session = new Session()
  session.connect()
  yield* Effect.promise(() => session.post("Profiler.enable"))
  const counted = { callCount: true, detailed: false }
  yield* Effect.promise(() => session.post("Profiler.startPreciseCoverage", counted))
  yield* take(session)
  // What timers do meanwhile is no part of a write.
  yield* Effect.sleep("3 seconds")
  const idle = new Set(yield* take(session))
  yield* write
  const entered = (yield* take(session)).filter((place) => !idle.has(place))
  session.disconnect()
  const files = Map.groupBy(entered, (place) => place.split(":")[0]!)
  for (const [file, places] of [...files].toSorted()) console.log(`${places.length}\t${file}`)
  console.log(`${files.size} files for a write of ${bytes} bytes`)
})

await Effect.runPromise(Effect.scoped(program))
