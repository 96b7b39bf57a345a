/** Files of the kernel's NFS server, read and written through the RDMA device of this machine. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import {
  digestOf,
  listFiles,
  moveFiles,
  port,
  readInPieces,
  type Server,
  startServer
} from "../kernelFiles.ts"
import { report } from "./report.ts"

/** The device's address, from which the client comes, too. */
const host = "10.9.0.1"

const server: Server = {
  to: { host, port },
  digest: (file) => Effect.sync(() => digestOf(readFileSync(`/export/${file}`)))
}

execFileSync("sh", ["-c", startServer(host)], { stdio: "inherit" })

const tests = [
  { name: "files are listed inline and by reply chunk", test: listFiles(server) },
  { name: "files are read and written by chunks of 1 MiB", test: moveFiles(server) },
  { name: "files are read by 64 calls in flight", test: readInPieces(server) }
]

await Effect.runPromise(
  Effect.provide(report(tests.map(({ name, test }) => ({ name, test: Effect.scoped(test) }))), [
    IbVerbs.layer(),
    Journal.layerMemory
  ])
)
