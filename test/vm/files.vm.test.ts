/**
 * Goal: files of the Linux kernel's NFS server are read and written through the typed client, large
 * ones by chunks, many calls at once, and across lost connections.
 * Method: the reader of `examples/nfs.ts` against a memory file system that the machine exports.
 * Digests are compared inside the machine. A proxy on loopback cuts proven connections: siw of
 * Linux 6.1 stops its kernel when a stream ends before it listens there.
 */
import { connect, createServer, type Socket } from "node:net"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as Iwarp from "../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import {
  listFiles,
  makeClient,
  mebibyte,
  moveFiles,
  port,
  readInPieces,
  type Server,
  startServer
} from "./kernelFiles.ts"
import { host, Machine, onMachine } from "./machine.ts"

/** Runs a command in the machine. Returns what it printed. */
const inside = Effect.fnUntraced(function* (command: string) {
  const { output, status } = yield* (yield* Machine).run(command)
  assert.strictEqual(status, 0, output)
  return output.trim()
})

/** The server, at a port of loopback. */
const start = Effect.gen(function* () {
  const machine = yield* Machine
  yield* inside(startServer(host))
  const digest = (file: string) =>
    inside(`sha1sum /export/${file}`).pipe(
      Effect.map((line) => line.split(" ")[0]),
      Effect.provideService(Machine, machine)
    )
  const server: Server = { to: { host: "127.0.0.1", port: yield* machine.forward(port) }, digest }
  return server
})

/** The provider, with or without the remote invalidation of keys. */
const provider = (remoteInvalidate: boolean) =>
  Layer.effect(
    Verbs,
    Effect.map(Verbs, (verbs) => ({
      ...verbs,
      capabilities: { ...verbs.capabilities, remoteInvalidate }
    }))
  ).pipe(Layer.provide(Iwarp.layer({ pool: { workers: 1 } })))

const provided = (remoteInvalidate: boolean) =>
  Effect.provide([provider(remoteInvalidate), Journal.layerMemory])

/** A port of loopback that leads to another one, by connections that can be cut. */
const cuttable = Effect.fnUntraced(function* (to: number) {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1")
    for (const [socket, other] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(socket)
      socket.pipe(other)
      socket.on("error", () => other.destroy())
      socket.once("close", () => void (sockets.delete(socket), other.destroy()))
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>(
      (resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))
    ),
    () => Effect.sync(() => server.close())
  )
  const cut = Effect.sync(() => {
    for (const socket of sockets) socket.destroy()
  })
  yield* Effect.addFinalizer(() => cut)
  return { cut, port: (server.address() as { readonly port: number }).port }
})

onMachine("files of the kernel's NFS server", (it) => {
  for (const remoteInvalidate of [false, true]) {
    const r = `R = ${remoteInvalidate ? 1 : 0}`
    for (const [name, use] of [
      ["D3: are listed inline and by reply chunk", listFiles],
      ["D3: are read and written by chunks of 1 MiB", moveFiles]
    ] as const) {
      const test = start.pipe(Effect.flatMap(use), provided(remoteInvalidate))
      it.effect(`${name}; ${r}`, () => test, 120_000)
    }
  }

  it.effect(
    "F1: are read by 64 calls in flight",
    () => start.pipe(Effect.flatMap(readInPieces), provided(true)),
    120_000
  )

  it.effect(
    "B1 C4: are read and written while connections are cut",
    () =>
      Effect.gen(function* () {
        const { digest, to } = yield* start
        const { cut, port } = yield* cuttable(to.port)
        const { client, isClean, read, write } = yield* makeClient({ ...to, port })
        const whole = yield* read("/large", 0, mebibyte)
        const pieceBytes = mebibyte / 16
        const over = { is: false }
        const copy = (k: number) =>
          Effect.gen(function* () {
            let rounds = 0
            while (!over.is || rounds === 0) {
              const piece = yield* read("/large", k * pieceBytes, pieceBytes)
              assert.isTrue(
                Buffer.from(piece).equals(whole.subarray(k * pieceBytes, (k + 1) * pieceBytes))
              )
              assert.strictEqual(yield* write("/written", k * pieceBytes, piece), pieceBytes)
              rounds++
            }
          })
        const copying = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 16 }, (_, k) => k),
            copy,
            { concurrency: 16 }
          )
        )
        const ready = client.states.pipe(
          Stream.filter(({ _tag }) => _tag === "Ready"),
          Stream.take(1),
          Stream.runDrain
        )
        const lost = client.states.pipe(
          Stream.filter(({ _tag }) => _tag !== "Ready"),
          Stream.take(1),
          Stream.runDrain
        )
        for (let round = 0; round < 5; round++) {
          yield* Effect.raceFirst(ready, Effect.andThen(Fiber.join(copying), Effect.never))
          yield* cut
          yield* lost
        }
        yield* Effect.raceFirst(ready, Effect.andThen(Fiber.join(copying), Effect.never))
        over.is = true
        yield* Fiber.join(copying)
        assert.strictEqual(yield* digest("written"), yield* digest("large"))
        isClean()
      }).pipe(provided(true)),
    240_000
  )
})
