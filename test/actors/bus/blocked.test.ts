/**
 * Goal: a node whose main thread is busy is alive for its servers, for a bounded time and no longer
 * (G7, D27): workers accept their connections and answer there, too.
 * Method: servers of each kind on loopback. A shell kills every link of the node at each server, and
 * asks them again and again what they think of it, while the main thread waits for the shell.
 */
import { spawnSync } from "node:child_process"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { tlsOf } from "../../native/io/harness.ts"
import { type Live, live, nodeTimeoutMs } from "./live.ts"
import { cliFlags, eachKind } from "./servers.ts"

/** Kills all links to and from a node at each server, then prints its lines for so many seconds. */
const script = (seconds: number, id: string, clients: ReadonlyArray<string>) =>
  [
    `end=$(( $(date +%s%3N) + ${1_000 * seconds} ))`,
    ...clients.map((client) => `${client} debug clusterlink kill all ${id}`),
    "while [ $(date +%s%3N) -lt $end ]; do",
    ...clients.map((client) => `  ${client} cluster nodes | grep ^${id}`),
    "  sleep 0.1",
    "done"
  ].join("\n")

/** The flags of the node at all servers, while its main thread is blocked for so long. */
const flagsWhileBlocked = ({ bus, servers }: Live, seconds: number, isSecure: boolean) => {
  const clients = servers.map(({ port }) => ["redis-cli", ...cliFlags(port, isSecure)].join(" "))
  const { stdout } = spawnSync("bash", ["-c", script(seconds, bus.id, clients)], {
    encoding: "utf8"
  })
  assert.strictEqual(stdout.split("\n").filter((line) => line === "OK").length, servers.length)
  return stdout
    .split("\n")
    .filter((line) => line.startsWith(bus.id))
    .map((line) => line.split(" ")[2]!)
}

eachKind("a node whose main thread is blocked, in a cluster", (kind) => {
  it.live.each([false, true])(
    "G7: is not failed for 1.5 node timeouts though every link was killed; over TLS: %s",
    (isSecure) =>
      live({ kind, ...(isSecure ? { tls: tlsOf("client") } : {}) }, (test) =>
        Effect.sync(() => {
          const flags = flagsWhileBlocked(test, (1.5 * nodeTimeoutMs) / 1_000, isSecure)
          assert.deepStrictEqual([...new Set(flags)], ["master"])
          return { renewed: test.servers }
        })
      ),
    90_000
  )

  it.live(
    "G7: is failed once its workers may answer no more",
    () =>
      live({ kind, answerMs: nodeTimeoutMs / 2 }, (test) =>
        Effect.sync(() => {
          const flags = flagsWhileBlocked(test, (3 * nodeTimeoutMs) / 1_000, false)
          assert.include(flags, "master,fail")
          return { renewed: test.servers }
        })
      ),
    90_000
  )
})
