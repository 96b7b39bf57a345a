/**
 * Goal: a node whose main thread is busy is alive for its servers, for a bounded time and no longer
 * (G7, D27): workers accept their connections and answer there, too.
 * Method: servers of each kind on loopback. A shell kills every link of the node at each server,
 * and asks them again and again what they think of it, while the main thread waits for the shell.
 */
import { spawnSync } from "node:child_process"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { tlsOf } from "../../native/io/harness.ts"
import { busyMs } from "../../../src/actors/bus/internal/heartbeats.ts"
import { type Live, live, nodeTimeoutMs } from "./live.ts"
import { cliFlags, eachKind, until } from "./servers.ts"

/** Does something at each server, then prints the lines of a node there for so many seconds. */
const script = (
  seconds: number,
  id: string,
  clients: ReadonlyArray<string>,
  act: (client: string) => string
) =>
  [
    `end=$(( $(date +%s%3N) + ${1_000 * seconds} ))`,
    ...clients.map(act),
    "while true; do",
    ...clients.map((client) => `  ${client} cluster nodes | grep ^${id}`),
    "  if [ $(date +%s%3N) -ge $end ]; then break; fi",
    "  sleep 0.1",
    "done"
  ].join("\n")

/** Publications of 21 MB in all: more than the memory of a worker for frames. */
const [publications, publicationBytes] = [70, 100_000]

const publishing = (client: string): string => {
  const call = `redis.call("publish", "news", string.rep("x", ${publicationBytes}))`
  return `${client} eval 'for i = 1, ${publications} do ${call} end; return "OK"' 0`
}

/** Publishes when workers have taken the main thread for busy. */
const publishingLate = (client: string): string =>
  `sleep ${(1.1 * busyMs({ nodeTimeoutMs })) / 1_000}\n${publishing(client)}`

/** The flags of the node at all servers, while its main thread is blocked for so long. */
const flagsWhileBlocked = (
  { bus, servers }: Live,
  seconds: number,
  isSecure: boolean,
  act = (client: string) => `${client} debug clusterlink kill all ${bus.id}`
) => {
  const clients = servers.map(({ port }) => ["redis-cli", ...cliFlags(port, isSecure)].join(" "))
  const { stdout } = spawnSync("bash", ["-c", script(seconds, bus.id, clients, act)], {
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
    "G7, G6: is not failed though more is published than fits, and says what it missed",
    () =>
      // A busy machine takes its time to publish so much.
      live({ kind, answerMs: 10 * nodeTimeoutMs }, (test) =>
        Effect.gen(function* () {
          const counted = { published: 0, missed: 0 }
          const counting = Stream.runForEach(test.bus.publications, (element) =>
            Effect.sync(() => {
              if (element._tag === "Missed") counted.missed += element.count
              else counted.published++
            })
          )
          yield* Effect.forkScoped(counting)
          yield* Effect.yieldNow
          const seconds = (1.5 * nodeTimeoutMs) / 1_000
          const flags = flagsWhileBlocked(test, seconds, false, publishingLate)
          assert.deepStrictEqual([...new Set(flags)], ["master"])
          const all = test.servers.length * publications
          yield* until(Effect.sync(() => counted.published + counted.missed === all))
          assert.isAbove((yield* test.bus.health).counts.publicationsMissed, 0)
        })
      ),
    90_000
  )

  it.live(
    "G7: is not failed though more is published at once than a lane takes",
    () =>
      // A busy machine takes its time to publish so much.
      live({ kind, answerMs: 10 * nodeTimeoutMs }, (test) =>
        Effect.gen(function* () {
          let published = 0
          const counting = Stream.runForEach(test.bus.publications, () =>
            Effect.sync(() => void published++)
          )
          yield* Effect.forkScoped(counting)
          yield* Effect.yieldNow
          const seconds = (1.5 * nodeTimeoutMs) / 1_000
          const flags = flagsWhileBlocked(test, seconds, false, publishing)
          assert.deepStrictEqual([...new Set(flags)], ["master"])
          yield* until(Effect.sync(() => published > 0))
          // A PING behind what did not fit is answered on another link, which the server opens.
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
