/**
 * A process of the demo: it offers memory, and reads the other one's again and again, as durable
 * transfers, and checks each byte.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { join } from "node:path"
import { TransferEngine } from "../../actors/transfer/TransferEngine.ts"
import { failedSlices } from "../../actors/transfer/TransferMetrics.ts"
import { TransferNode } from "../../actors/transfer/TransferNode.ts"
import { staleResults } from "../../actors/kernel/Metrics.ts"
import * as IwarpVerbs from "../../native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"
import { canonicalHost } from "../../schema/Address.ts"
import {
  contents,
  type FromProcess,
  type ProcessOptions,
  PEER_WITHIN,
  PIECE,
  PIECES,
  TOGETHER,
  type ToProcess
} from "./messages.ts"
import { layerKeeping } from "./keeping.ts"
import { layerSlow } from "./slowVerbs.ts"

const tell = (message: FromProcess): void => void process.send?.(message)

/** Messages of the orchestrator. */
class ControlChannel {
  /** Ports of the peer's queue pairs. */
  readonly meetings = new Map<number, number>()
  readonly goes: Promise<void>
  isOver = false

  constructor() {
    this.goes = new Promise((resolve) => {
      process.on("message", (message: ToProcess) => {
        if (message._tag === "Meet") this.meetings.set(message.port, message.at)
        else if (message._tag === "Go") resolve()
        else this.isOver = true
      })
    })
    // A process without its orchestrator has no purpose.
    process.on("disconnect", () => process.exit(1))
  }
}

/** Reads the peer's memory, piece by piece, until the demo is over. */
class Reader {
  moved = 0
  readonly #part: ProcessOptions
  readonly #channel: ControlChannel
  readonly #wanted: ReadonlyArray<Uint8Array>

  constructor(part: ProcessOptions, channel: ControlChannel) {
    this.#part = part
    this.#channel = channel
    const other = part.name === "ann" ? "ben" : "ann"
    this.#wanted = Array.from({ length: PIECES }, (_, piece) => contents(other, part.seed, piece))
  }

  /** Reads one piece after the other, each as a separate transfer. */
  readonly run = Effect.fnUntraced({ self: this }, function* (this: Reader, lane: number) {
    const engine = yield* TransferEngine
    const inbox = yield* engine.named("inbox")
    for (let round = 0; !this.#channel.isOver; round++) {
      const piece = (lane + round * TOGETHER) % PIECES
      const offset = piece * PIECE
      const here = inbox.bytes.subarray(offset, offset + PIECE)
      here.fill(0)
      const to = inbox.slice(offset, PIECE)
      yield* engine.transfer({
        durable: true,
        id: `${process.pid}.${lane}.${round}`,
        peer: this.#part.peer,
        ops: [{ op: "read", from: { buffer: "outbox", offset }, to }]
      })
      if (Buffer.compare(here, this.#wanted[piece]!) !== 0) tell({ _tag: "Wrong", piece })
      this.moved += 1
    }
  })
}

/** The memory that the peer reads, with its expected content. */
const offered = ({ name, seed }: ProcessOptions): SharedArrayBuffer => {
  const memory = new SharedArrayBuffer(PIECE * PIECES)
  const bytes = new Uint8Array(memory)
  for (let piece = 0; piece < PIECES; piece++) {
    bytes.set(contents(name, seed, piece), piece * PIECE)
  }
  return memory
}

const demo = Effect.fnUntraced(function* (memory: SharedArrayBuffer, reader: Reader) {
  const engine = yield* TransferEngine
  yield* engine.register({ name: "outbox", memory, access: ["remote-read"] })
  yield* engine.register({ name: "inbox", memory: memory.byteLength, access: ["local-write"] })
  const report = () => tell({ _tag: "Moved", pieces: reader.moved })
  const reports = setInterval(report, 50)
  const lanes = Array.from({ length: TOGETHER }, (_, lane) => reader.run(lane))
  yield* Effect.all(lanes, { concurrency: "unbounded", discard: true })
  clearInterval(reports)
  report()
  const { count } = yield* Metric.value(staleResults)
  const resent = yield* Metric.value(failedSlices)
  tell({ _tag: "Over", staleDropped: count, resent: resent.count })
  // The peer may still be reading.
  yield* Effect.sleep("1 second")
})

const life = Effect.fnUntraced(function* (part: ProcessOptions, channel: ControlChannel) {
  const verbs = layerSlow(part.slow)(
    IwarpVerbs.layer({
      peerWithinMs: PEER_WITHIN,
      route: (to) => {
        const port = channel.meetings.get(to.port)
        return port === undefined ? to : { host: part.peerAt.host, port }
      }
    })
  )
  const provider = Context.get(yield* Layer.build(verbs), Verbs)
  // Each opening of a device gets a new port, so the node gets this one.
  const host = canonicalHost(part.peerAt.host)
  const device = yield* provider.open(part.nic, { host, admits: (address) => address === host })
  const { lid } = yield* device.port()
  // Slow steps that need no peer come before the peer counts on this process.
  const journal = yield* Layer.build(layerKeeping(join(part.directory, `${part.name}.journal`)))
  const outbox = offered(part)
  const reader = new Reader(part, channel)
  tell({ _tag: "Up", meetingPort: lid })
  yield* Effect.promise(() => channel.goes)
  const node = TransferNode.layer({
    host,
    peers: [part.peer],
    nics: [part.nic],
    handshake: { port: part.port },
    calls: { locate: () => Effect.succeed(part.peerAt) },
    endpoints: { rules: { gate: part.gate } },
    engine: { unreachableAfterMs: 60_000, stallAfterMs: 1_000 }
  })
  const services = Layer.provide(node, [
    Layer.succeed(Verbs, { ...provider, open: () => Effect.succeed(device) }),
    Layer.succeedContext(journal)
  ])
  yield* Effect.provide(demo(outbox, reader), services)
})

/** The command behind `handfast start`; not for users. */
export const part = Command.make(
  "part",
  { part: Argument.String("part") },
  Effect.fnUntraced(function* ({ part }) {
    const channel = new ControlChannel()
    yield* life(JSON.parse(part) as ProcessOptions, channel)
    process.disconnect?.()
  }, Effect.scoped)
).pipe(Command.withDescription("One of the two processes of `start`"))
