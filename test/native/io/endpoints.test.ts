/**
 * Goal: lanes open by a file descriptor and by the path of a unix socket as by host and port, and
 * fail there with the same typed errors.
 * Method: duplicated descriptors of connected sockets, and sockets in a directory of their own.
 */
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs"
import type * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { descriptorTo } from "./descriptor.ts"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

/** A directory of the test's own. */
const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

for (const on of ["worker", "main"] as const) {
  describe(`an endpoint, its lanes on: ${on}`, () => {
    it.live("a unix socket carries frames both ways and goes with its listener", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const path = join(yield* directory, "lane.sock")
          yield* Effect.scoped(
            Effect.gen(function* () {
              const options = { framer: lab.labFramer, on }
              const listener = yield* pool.listen({ ...options, at: { path } })
              assert.strictEqual(listener.address, path)
              const client = yield* pool.connect({ ...options, to: { path } })
              const server = yield* listener.accept
              for (const n of upTo(100)) {
                yield* lab.send(client, lab.numbered(n, 20_000))
                yield* lab.send(server, lab.numbered(n, 100))
              }
              for (const lane of [client, server]) {
                const frames = yield* lab.takeCount(lane, 100)
                assert.deepStrictEqual(frames.map(lab.numberOf), upTo(100))
              }
            })
          )
          yield* lab.until("the socket is gone", () => Effect.sync(() => !existsSync(path)))
        })
      )
    )

    it.live("a unix socket that nobody listens on, and one that is taken, fail by name", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const path = join(yield* directory, "lane.sock")
          const options = { framer: lab.labFramer, on }
          const refused = yield* Effect.flip(pool.connect({ ...options, to: { path } }))
          assert.deepStrictEqual([refused.step, refused.code], ["connect", "ENOENT"])
          yield* pool.listen({ ...options, at: { path } })
          const taken = yield* Effect.flip(pool.listen({ ...options, at: { path } }))
          assert.deepStrictEqual([taken.step, taken.code], ["listen", "EADDRINUSE"])
        })
      )
    )

    it.live("a descriptor of a connected socket becomes a lane, which closes it", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const got: Array<Buffer> = []
          const peers: Array<net.Socket> = []
          const server = yield* lab.rawServer((socket) => {
            peers.push(socket)
            socket.on("data", (bytes: Buffer) => got.push(bytes))
          })
          const fd = yield* descriptorTo(server.port)
          const lane = yield* pool.adopt({ framer: lab.labFramer, on, fd })
          assert.strictEqual(lane.peer.port, server.port)
          lane.send(lab.numbered(7))
          yield* lab.until("the frame", () => Effect.sync(() => got.length > 0))
          assert.deepStrictEqual(Buffer.concat(got), Buffer.from(lab.numbered(7)))
          for (const n of upTo(50)) peers[0]?.write(lab.numbered(n, 10_000))
          const frames = yield* lab.takeCount(lane, 50)
          assert.deepStrictEqual(frames.map(lab.numberOf), upTo(50))
          peers[0]?.end()
          assert.strictEqual((yield* lane.closed).reason._tag, "PeerClosed")
          assert.throws(() => fstatSync(fd), /EBADF/)
        })
      )
    )

    it.live("a descriptor that is no socket fails by name and stays with its owner", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const file = join(yield* directory, "plain")
          const fd = yield* Effect.acquireRelease(
            Effect.sync(() => openSync(file, "w")),
            (fd) => Effect.sync(() => closeSync(fd))
          )
          const end = yield* Effect.flip(pool.adopt({ framer: lab.labFramer, on, fd }))
          assert.deepStrictEqual([end.address, end.code], [`fd ${fd}`, "ERR_INVALID_FD_TYPE"])
          assert.isTrue(fstatSync(fd).isFile())
        })
      )
    )
  })
}
