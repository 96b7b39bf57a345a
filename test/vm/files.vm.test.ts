/**
 * Goal: files of the Linux kernel's NFS server are read and written through the typed client, large
 * ones by chunks, many calls at once, and across lost connections.
 * Method: the reader of `examples/nfs.ts` against a memory file system that the machine exports.
 * Digests are compared inside the machine. A proxy on loopback cuts proven connections: siw of
 * Linux 6.1 stops its kernel when a stream ends before it listens there.
 */
import { connect, createServer, type Socket } from "node:net"
import { createHash, randomBytes } from "node:crypto"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { filesOf, Nfs } from "../../examples/nfs.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { parts, Parts } from "../../src/actors/rpc/internal/parts.ts"
import { Requester } from "../../src/actors/rpc/internal/requester.ts"
import * as RpcClient from "../../src/actors/rpc/RpcClient.ts"
import * as Iwarp from "../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import { host, Machine, onMachine } from "./machine.ts"

const port = 20_049
const mebibyte = 1 << 20
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

/** What the tools of an NFS package would tell the kernel: whom it knows, and what it exports. */
const startServer = [
  "mkdir -p /var/lib/nfs/v4recovery /export && mount -t tmpfs tmpfs /export",
  "cd /proc/fs/nfsd",
  "echo 10 >nfsv4leasetime && echo 10 >nfsv4gracetime && echo 1048576 >max_block_size",
  `echo -3 >versions && echo rdma ${port} >portlist && echo 2 >threads && echo Y >v4_end_grace`,
  "cd /proc/net/rpc && E=2147483647",
  `echo "nfsd ${host} $E vm" >auth.unix.ip/channel`,
  String.raw`printf '%s\n' "vm 1 \\x00000000 $E /export" >nfsd.fh/channel`,
  `echo "vm /export $E 9234 65534 65534 0" >nfsd.export/channel`,
  "head -c 1048576 /dev/urandom >/export/large && : >/export/written",
  "mkdir /export/many && cd /export/many && for k in $(seq 300); do : >file$k; done"
].join(" && ")

/** Runs a command in the machine. Returns what it printed. */
const inside = Effect.fnUntraced(function* (command: string) {
  const { output, status } = yield* (yield* Machine).run(command)
  assert.strictEqual(status, 0, output)
  return output.trim()
})

const start = Effect.gen(function* () {
  const { forward } = yield* Machine
  yield* inside(`grep -q rdma /proc/fs/nfsd/portlist || { ${startServer}; }`)
  return yield* forward(port)
})

const digestOf = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest("hex")
const digestInside = (file: string) =>
  Effect.map(inside(`sha1sum /export/${file}`), (line) => line.split(" ")[0])

/** The provider, with or without the remote invalidation of keys. */
const provider = (remoteInvalidate: boolean) =>
  Layer.effect(
    Verbs,
    Effect.map(Verbs, (verbs) => ({
      ...verbs,
      capabilities: { ...verbs.capabilities, remoteInvalidate }
    }))
  ).pipe(Layer.provide(Iwarp.layer({ pool: { workers: 1 } })))

/** A client of the server at a port of loopback. It counts messages that it had to drop. */
const makeClient = Effect.fnUntraced(function* (to: number) {
  const requesters: Array<Requester> = []
  const requester: Parts["requester"] = (around) => {
    const made = new Requester(around)
    requesters.push(made)
    return made
  }
  const client = yield* RpcClient.make({
    to: { host: "127.0.0.1", port: to },
    program: Nfs.program,
    version: Nfs.version,
    trustsForeignCache: true,
    firstPauseMs: 10,
    longestPauseMs: 100,
    connectWithinMs: 60_000,
    overdueAfterMs: 60_000,
    probeWithinMs: 60_000
  }).pipe(Effect.provideService(Parts, { ...parts, requester }))
  const dropped = () => requesters.reduce((sum, { dropped }) => sum + dropped, 0)
  return { client, dropped, ...filesOf(client.methods(Nfs)) }
})

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

    it.effect(
      `D3: are listed inline and by reply chunk; ${r}`,
      () =>
        Effect.gen(function* () {
          const { client, dropped, list, stat } = yield* makeClient(yield* start)
          assert.isTrue((yield* stat("/")).isDirectory)
          assert.deepStrictEqual(yield* stat("/large"), { isDirectory: false, size: mebibyte })
          const names = Array.from({ length: 300 }, (_, k) => `file${k + 1}`).toSorted()
          for (const replyBytes of [1_024, 32_768]) {
            const listed = yield* list("/many", replyBytes)
            assert.deepStrictEqual(listed.map(({ name }) => name).toSorted(), names)
          }
          const error = yield* Effect.flip(stat("/none"))
          assert.strictEqual(error._tag === "NfsError" && error.status, 2)
          assert.strictEqual(dropped(), 0)
          assert.deepStrictEqual(client.usage, free)
        }).pipe(provided(remoteInvalidate)),
      120_000
    )

    it.effect(
      `D3: are read and written by chunks of 1 MiB; ${r}`,
      () =>
        Effect.gen(function* () {
          const { client, dropped, read, write } = yield* makeClient(yield* start)
          const bytes = yield* read("/large", 0, mebibyte)
          assert.strictEqual(digestOf(bytes), yield* digestInside("large"))
          const written = randomBytes(mebibyte)
          assert.strictEqual(yield* write("/written", 0, written), mebibyte)
          assert.strictEqual(yield* digestInside("written"), digestOf(written))
          assert.strictEqual(dropped(), 0)
          assert.deepStrictEqual(client.usage, free)
        }).pipe(provided(remoteInvalidate)),
      120_000
    )
  }

  it.effect(
    "F1: are read by 64 calls in flight",
    () =>
      Effect.gen(function* () {
        const { client, dropped, read } = yield* makeClient(yield* start)
        const pieceBytes = mebibyte / 64
        const pieces = yield* Effect.forEach(
          Array.from({ length: 64 }, (_, k) => k),
          (k) => read("/large", k * pieceBytes, pieceBytes),
          { concurrency: 64 }
        )
        assert.strictEqual(digestOf(Buffer.concat(pieces)), yield* digestInside("large"))
        assert.strictEqual(dropped(), 0)
        assert.deepStrictEqual(client.usage, free)
      }).pipe(provided(true)),
    120_000
  )

  it.effect(
    "B1 C4: are read and written while connections are cut",
    () =>
      Effect.gen(function* () {
        const { cut, port: to } = yield* cuttable(yield* start)
        const { client, dropped, read, write } = yield* makeClient(to)
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
        assert.strictEqual(yield* digestInside("written"), yield* digestInside("large"))
        assert.strictEqual(dropped(), 0)
        assert.deepStrictEqual(client.usage, free)
      }).pipe(provided(true)),
    240_000
  )
})
