/** Members in a process of their own that reconnect at once. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const pem = (name: string): string => path(`../../fixtures/tls/${name}.pem`)

/** Joins a node with so many members, which end with the Scope. */
export const storm = Effect.fnUntraced(function* (busPort: number, count: number) {
  const args = [`${busPort}`, `${count}`, pem("client"), pem("client-key"), pem("ca")]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(path("../../fixtures/stormPeers.ts"), args)),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )
  const next = Effect.callback<unknown>((resume) => {
    const exited = (code: number | null) => resume(Effect.die(`the peers ended with ${code}`))
    child.once("exit", exited)
    child.once("message", (message) => {
      child.off("exit", exited)
      resume(Effect.succeed(message))
    })
  })
  yield* next
  return {
    /** Cuts all links and waits until they are back; returns how many were lost on the way. */
    reconnect: Effect.suspend(() => {
      child.send("go")
      return Effect.map(next, (message) => (message as { readonly up: number }).up)
    })
  }
})
