/**
 * Goal: a stranger who does all that a stranger can think of (read, write, dial, lock out, fill)
 * costs a default node next to nothing, and its peers notice nothing.
 *
 * Method: a node in a process of its own, connected with a peer; 10,000 calls of its two ports from
 * an address that is no peer's, in turn of each kind, up to the longest frame. Memory is what is in
 * use after garbage collection, before and after.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Endpoints } from "../../../src/actors/endpoint/Endpoints.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as Child from "../../child.ts"
import * as spec from "../../native/verbs/specification.ts"
import { elsewhere, host, nodeOf, offerFrom, questions, said } from "./strangers.ts"
import { typed } from "./tcp.ts"

const tries = 10_000
const atOnce = 20
/** MB by which the node may have grown. */
const growth = 20

interface Told {
  readonly server: string
  readonly dataPort: number
  readonly path: string
}

interface Looked {
  readonly rss: number
  readonly size: number
  readonly isWhole: boolean
}

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "stranger-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const bytesIn = (path: string): number =>
  readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0)

const child = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      fork(new URL("../../fixtures/closedNode.ts", import.meta.url), [path], {
        execArgv: ["--expose-gc"]
      })
    ),
    Child.kill
  )

describe("a stranger", () => {
  it.live(
    `closed: gets nothing in ${tries} tries, and costs less than ${growth} MB`,
    () =>
      Effect.gen(function* () {
        const path = yield* directory
        const process = yield* child(path)
        const node = yield* Child.next<Told>(process)
        const look = Effect.suspend(() => {
          process.send("look")
          return Child.next<Looked>(process)
        })
        const peer = yield* nodeOf({ peers: [host] })
        const engine = Context.get(peer.context, TransferEngine)
        yield* engine.warm(node.server)
        const [store] = Context.get(peer.context, Endpoints).values()
        const before = yield* store!.stateOf(node.path)
        assert(before._tag === "Ready")
        const port = Number(node.server.split(":")[1])
        const long = "x".repeat(1_000_000)
        const calls: ReadonlyArray<readonly [number, Uint8Array]> = [
          ...Object.values(questions(node.path)).map((bytes) => [port, bytes] as const),
          // In the name of the peer: to lock it out, and to have the node call a third host.
          [port, offerFrom(peer.path, node.path, { epoch: "bbbbbbbb.1", lid: 9 })],
          [port, typed(JSON.stringify({ name: "a", notify_msg: long }), FrameType.notify)],
          [port, offerFrom(`${elsewhere}:1@${long}`, node.path)],
          [node.dataPort, spec.start()],
          [node.dataPort, Buffer.alloc(65_536, 1)]
        ]
        const call = (index: number) => {
          const [to, bytes] = calls[index % calls.length]!
          return Effect.map(said(to, bytes, elsewhere), (answer) =>
            assert.include(["", "ECONNRESET", "EPIPE"], answer)
          )
        }
        const first = yield* look
        const journal = bytesIn(path)
        yield* Effect.forEach(
          Array.from({ length: tries }, (_, index) => index),
          call,
          { concurrency: atOnce, discard: true }
        )
        const last = yield* look
        assert.deepInclude(last, { size: first.size, isWhole: true })
        assert.strictEqual(bytesIn(path), journal)
        assert.isAtMost((last.rss - first.rss) / 1e6, growth)
        assert.deepStrictEqual(yield* store!.stateOf(node.path), before)
        const own = yield* engine.register({ memory: 65_536 })
        yield* engine.read({ peer: node.server, from: { buffer: "secret" }, to: own.slice() })
        assert.isTrue(own.bytes.every((byte) => byte === 5))
      }).pipe(Effect.scoped),
    120_000
  )
})
