/**
 * Files of the Linux kernel's NFS server over RDMA: how the server is started without the tools of
 * an NFS package, and what a client of any provider must be able to do with them.
 */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import { filesOf, Nfs } from "../../examples/nfs.ts"
import { parts, Parts } from "../../src/actors/rpc/internal/parts.ts"
import { Requester } from "../../src/actors/rpc/internal/requester.ts"
import * as RpcClient from "../../src/actors/rpc/RpcClient.ts"
import type { Address } from "../../src/native/verbs/Connection.ts"

export const port = 20_049
export const mebibyte = 1 << 20
const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

/**
 * Starts the server, unless it runs, as the tools of an NFS package would: tells the kernel which
 * client it knows, and what it exports.
 */
export const startServer = (client: string): string => {
  const lines = [
    "mkdir -p /var/lib/nfs/v4recovery /export && mount -t tmpfs tmpfs /export",
    "cd /proc/fs/nfsd && { test -e threads || mount -t nfsd nfsd . ; } && cd /proc/fs/nfsd",
    "echo 10 >nfsv4leasetime && echo 10 >nfsv4gracetime && echo 1048576 >max_block_size",
    `echo -3 >versions && echo rdma ${port} >portlist && echo 2 >threads && echo Y >v4_end_grace`,
    "cd /proc/net/rpc && E=2147483647",
    `echo "nfsd ${client} $E vm" >auth.unix.ip/channel`,
    String.raw`printf '%s\n' "vm 1 \\x00000000 $E /export" >nfsd.fh/channel`,
    `echo "vm /export $E 9234 65534 65534 0" >nfsd.export/channel`,
    "head -c 1048576 /dev/urandom >/export/large && : >/export/written",
    "mkdir /export/many && cd /export/many && for k in $(seq 300); do : >file$k; done"
  ]
  return `grep -q rdma /proc/fs/nfsd/portlist || { ${lines.join(" && ")}; }`
}

/** A server that runs. */
export interface Server {
  readonly to: Address
  /** The SHA-1 of an exported file, as the server's machine has it. */
  readonly digest: (file: string) => Effect.Effect<string | undefined>
}

export const digestOf = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest("hex")

/** A client of the server. It counts messages that it had to drop. */
export const makeClient = Effect.fnUntraced(function* (to: Address) {
  const requesters: Array<Requester> = []
  const requester: Parts["requester"] = (around) => {
    const made = new Requester(around)
    requesters.push(made)
    return made
  }
  const client = yield* RpcClient.make({
    to,
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
  /** Nothing was dropped, and nothing is held any more. */
  const isClean = () => {
    assert.equal(dropped(), 0)
    assert.deepEqual(client.usage, free)
  }
  return { client, isClean, ...filesOf(client.methods(Nfs)) }
})

/** Lists a large directory inline and by reply chunk. */
export const listFiles = Effect.fnUntraced(function* ({ to }: Server) {
  const { isClean, list, stat } = yield* makeClient(to)
  assert.ok((yield* stat("/")).isDirectory)
  assert.deepEqual(yield* stat("/large"), { isDirectory: false, size: mebibyte })
  const names = Array.from({ length: 300 }, (_, k) => `file${k + 1}`).toSorted()
  for (const replyBytes of [1_024, 32_768]) {
    const listed = yield* list("/many", replyBytes)
    assert.deepEqual(listed.map(({ name }) => name).toSorted(), names)
  }
  const error = yield* Effect.flip(stat("/none"))
  assert.equal(error._tag === "NfsError" && error.status, 2)
  isClean()
})

/** Reads and writes a file by chunks of 1 MiB. */
export const moveFiles = Effect.fnUntraced(function* ({ digest, to }: Server) {
  const { isClean, read, write } = yield* makeClient(to)
  const bytes = yield* read("/large", 0, mebibyte)
  assert.equal(digestOf(bytes), yield* digest("large"))
  const written = randomBytes(mebibyte)
  assert.equal(yield* write("/written", 0, written), mebibyte)
  assert.equal(yield* digest("written"), digestOf(written))
  isClean()
})

/** Reads a file by 64 calls in flight. */
export const readInPieces = Effect.fnUntraced(function* ({ digest, to }: Server) {
  const { isClean, read } = yield* makeClient(to)
  const pieceBytes = mebibyte / 64
  const pieces = yield* Effect.forEach(
    Array.from({ length: 64 }, (_, k) => k),
    (k) => read("/large", k * pieceBytes, pieceBytes),
    { concurrency: 64 }
  )
  assert.equal(digestOf(Buffer.concat(pieces)), yield* digest("large"))
  isClean()
})
