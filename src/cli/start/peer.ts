/**
 * One of the two processes of the story: it offers memory, and pulls the other one's again and
 * again, as durable transfers, looking at each octet that has come.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { join } from "node:path"
import { TransferEngine } from "../../actors/endpoint/TransferEngine.ts"
import { TransferNode } from "../../actors/endpoint/TransferNode.ts"
import { Journal } from "../../actors/kernel/Journal.ts"
import { staleResults } from "../../actors/kernel/Metrics.ts"
import { Verbs } from "../../native/Verbs.ts"
import { contents, type FromPart, type Part, PIECE, PIECES, type ToPart } from "./messages.ts"
import { layerSlow } from "./slowVerbs.ts"

/** Transfers that are under way at the same time. */
const TOGETHER = 4

const part = JSON.parse(process.argv[2] ?? "{}") as Part
const tell = (message: FromPart): void => void process.send?.(message)

/** Where the peer's queue pairs are reached; the narrator tells. */
const meetings = new Map<number, number>()
let go: () => void = () => undefined
let isOver = false

process.on("message", (message: ToPart) => {
  if (message._tag === "Meet") meetings.set(message.port, message.at)
  else if (message._tag === "Go") go()
  else isOver = true
})
// Whoever tells the story has gone.
process.on("disconnect", () => process.exit(1))

const told = Effect.callback<void>((resume) => {
  go = () => resume(Effect.void)
})

/** Pulls pieces, one after the other, each as a transfer of its own. */
const pull = Effect.fnUntraced(function* (worker: number, wanted: ReadonlyArray<Uint8Array>) {
  const engine = yield* TransferEngine
  const inbox = yield* engine.named("inbox")
  for (let round = 0; !isOver; round++) {
    const piece = (worker + round * TOGETHER) % PIECES
    const here = inbox.octets.subarray(piece * PIECE, (piece + 1) * PIECE)
    here.fill(0)
    yield* engine.transfer({
      durable: true,
      id: `${process.pid}.${worker}.${round}`,
      peer: part.peer,
      ops: [
        {
          op: "read",
          from: { buffer: "outbox", offset: piece * PIECE },
          to: inbox.slice(piece * PIECE, PIECE)
        }
      ]
    })
    if (Buffer.compare(here, wanted[piece]!) !== 0) tell({ _tag: "Wrong", piece })
    moved += 1
  }
})

let moved = 0

const story = Effect.gen(function* () {
  const engine = yield* TransferEngine
  const bytes = PIECE * PIECES
  const outbox = yield* engine.register({
    name: "outbox",
    memory: bytes,
    access: ["remote-read"]
  })
  const peer = part.name === "ann" ? "ben" : "ann"
  const wanted = Array.from({ length: PIECES }, (_, piece) => contents(peer, part.seed, piece))
  for (let piece = 0; piece < PIECES; piece++) {
    outbox.octets.set(contents(part.name, part.seed, piece), piece * PIECE)
  }
  yield* engine.register({ name: "inbox", memory: bytes, access: ["local-write"] })
  const reports = setInterval(() => tell({ _tag: "Moved", pieces: moved }), 50)
  const workers = Array.from({ length: TOGETHER }, (_, worker) => pull(worker, wanted))
  yield* Effect.all(workers, { concurrency: "unbounded", discard: true })
  clearInterval(reports)
  tell({ _tag: "Moved", pieces: moved })
  const { count } = yield* Metric.value(staleResults)
  tell({ _tag: "Over", staleDropped: Number(count) })
  // The peer may still be pulling.
  yield* Effect.sleep("1 second")
})

const verbs = layerSlow(part.slow)(
  Verbs.layerIwarp({
    route: (to) => {
      const port = meetings.get(to.port)
      return port === undefined ? to : { host: part.peerAt.host, port }
    }
  })
)

const main = Effect.gen(function* () {
  const provider = Context.get(yield* Layer.build(verbs), Verbs)
  const { lid } = yield* (yield* provider.open(part.nic)).port()
  tell({ _tag: "Up", meetingPort: lid })
  yield* told
  yield* story.pipe(
    Effect.provide(
      TransferNode.layer({
        host: "127.0.0.1",
        nics: [part.nic],
        handshake: { port: part.port },
        calls: { locate: () => Effect.succeed(part.peerAt) },
        endpoints: { rules: { gate: part.gate } },
        engine: { patience: 60_000, stall: 1_000 }
      }).pipe(
        Layer.provide([
          Layer.succeed(Verbs, provider),
          Journal.layerSqlite({ file: join(part.directory, `${part.name}.journal`) })
        ])
      )
    )
  )
}).pipe(Effect.scoped)

Effect.runPromise(main).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${part.name}: ${String(error)}\n`)
    process.exit(1)
  }
)
