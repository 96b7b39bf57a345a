/**
 * Goal: `handfast bus` joins by either port of a node, shows the cluster, follows it and publishes.
 * Method: the shipped command beside real servers, and where no node is.
 */
import { execFile, spawn, spawnSync } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { peer } from "../../peers.ts"
import { cluster, type Kind, kinds } from "./servers.ts"

const [kind] = kinds as [Kind]

const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
const command = ["bus", "join", "--node-timeout", "2000", "--seconds", "6"]
const exec = promisify(execFile)

const joinBy = (port: number, ...flags: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const address = `127.0.0.1:${port}`
    const { stdout } = await exec(process.execPath, [main, ...command, ...flags, address])
    return stdout.trim().split("\n")
  })

peer("redis-server", "handfast bus join", () => {
  it.live(
    "shows all nodes and their slots, whichever port it was given",
    () =>
      Effect.gen(function* () {
        const servers = yield* cluster(2, { kind, timeoutMs: 2_000 })
        const { busPort, port } = servers[0]!
        const [byBus, byClient] = yield* Effect.all([joinBy(busPort, "--json"), joinBy(port)], {
          concurrency: 2
        })
        const last = JSON.parse(byBus.at(-1)!)
        assert.includeMembers(
          last.members.map(({ id }: { id: string }) => id),
          servers.map(({ id }) => id)
        )
        assert.deepStrictEqual(
          last.slots.map(({ slots }: { slots: unknown }) => slots),
          [
            [0, 8191],
            [8192, 16_383]
          ]
        )
        const [found, joined] = byClient
        assert.include(found, `serves clients; its bus is 127.0.0.1:${busPort}`)
        assert.match(joined!, /^Joined as [0-9a-f]{40} on 127\.0\.0\.1:\d+$/)
        // The other command is a member as well, and may leave first: only servers are looked at.
        for (const { id } of servers) {
          const lines = byClient.filter((line) => line.startsWith(id.slice(0, 12)))
          assert.match(lines.at(-1)!, /primary +connected +(0-8191|8192-16383)$/)
        }
      }).pipe(Effect.scoped),
    60_000
  )
})

/** Runs a command until it has printed what a test waits for; then it is asked to end. */
const watching = (port: number, isSeen: (lines: ReadonlyArray<Line>) => boolean) =>
  Effect.callback<ReadonlyArray<Line>>((resume) => {
    const flags = ["bus", "watch", "--node-timeout", "2000", `127.0.0.1:${port}`]
    const child = spawn(process.execPath, [main, ...flags], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    const lines: Array<Line> = []
    createInterface(child.stdout).on("line", (line) => {
      lines.push(JSON.parse(line))
      if (isSeen(lines)) child.kill("SIGINT")
    })
    child.once("exit", () => resume(Effect.succeed(lines)))
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

interface Line {
  readonly _tag: string
  readonly [field: string]: unknown
}

peer("redis-server", "handfast bus watch and publish", () => {
  it.live(
    "print each change and publication as a JSON line, and publish to all nodes",
    () =>
      Effect.gen(function* () {
        const servers = yield* cluster(2, { kind, timeoutMs: 2_000 })
        const [first, second] = servers
        const has = (lines: ReadonlyArray<Line>, channel: string) =>
          lines.some(({ _tag, channel: of }) => _tag === "Published" && of === channel)
        const watched = yield* Effect.forkScoped(
          watching(first!.busPort, (lines) => has(lines, "news") && has(lines, "more"))
        )
        // Until it has joined, it is no member: repeats are as good as the first.
        const publishing = yield* Effect.forkScoped(
          Effect.forever(Effect.andThen(second!.ask("publish", "news", "one"), Effect.sleep(100)))
        )
        const publish = ["bus", "publish", "--node-timeout", "2000"]
        const at = `127.0.0.1:${first!.port}`
        const { stdout } = yield* Effect.promise(() =>
          exec(process.execPath, [main, ...publish, at, "more", "two"])
        )
        // The two servers, and the watching member.
        assert.match(stdout, /^Taken by [23] nodes, 0 had no room, \d not connected\n$/)
        const lines = yield* Fiber.join(watched)
        yield* Fiber.interrupt(publishing)
        const published = lines.find(({ channel }) => channel === "news")
        assert.deepInclude(published, { type: "publish", from: second!.id, message: "one" })
        assert.deepInclude(
          lines.find(({ channel }) => channel === "more"),
          { _tag: "Published", message: "two" }
        )
        for (const _tag of ["Members", "Slots"]) {
          assert.isTrue(
            lines.some((line) => line._tag === _tag),
            _tag
          )
        }
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("handfast bus publish", () => {
  it("ends with a code and a reason where it cannot join", () => {
    const flags = ["bus", "publish", "--node-timeout", "200", "127.0.0.1:1", "news", "x"]
    const { status, stderr } = spawnSync(process.execPath, [main, ...flags], {
      encoding: "utf8",
      timeout: 30_000
    })
    assert.strictEqual(status, 3)
    assert.include(stderr, "NoAnswer")
  })
})

describe("handfast bus join", () => {
  it("ends with a code and a reason where no node answers", () => {
    const flags = ["bus", "join", "--node-timeout", "200", "127.0.0.1:1"]
    const { status, stderr } = spawnSync(process.execPath, [main, ...flags], {
      encoding: "utf8",
      timeout: 30_000
    })
    assert.strictEqual(status, 3)
    assert.include(stderr, "NoAnswer")
  })

  it("refuses what is no address", () => {
    const { status, stderr } = spawnSync(process.execPath, [main, "bus", "join", "nowhere"], {
      encoding: "utf8",
      timeout: 30_000
    })
    assert.strictEqual(status, 2)
    assert.include(stderr, "not host:port")
  })
})
