/**
 * Goal: `handfast bus` joins by either port of a node, shows the cluster, follows it and publishes.
 * Method: the shipped command beside real servers, and where no node is.
 */
import { execFile, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { peer } from "../../peers.ts"
import { BusNode } from "../../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { cluster, type Kind, kinds } from "./servers.ts"

const [kind] = kinds as [Kind]

const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
const command = ["bus", "join", "--node-timeout", "2000", "--seconds", "6"]
const exec = promisify(execFile)

/** Ends a command that hangs: one that starts takes a second of processor time. */
const hangMs = 120_000

/** Runs the command to its end. */
const run = (...flags: ReadonlyArray<string>) =>
  spawnSync(process.execPath, [main, ...flags], { encoding: "utf8", timeout: hangMs })

const joinBy = (port: number, ...flags: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const address = `127.0.0.1:${port}`
    const { stdout } = await exec(process.execPath, [main, ...command, ...flags, address])
    return stdout.trim().split("\n")
  })

peer("redis-server", "handfast bus join with a journal", () => {
  it.live(
    "G10: is the same node each time, and leaves one entry in the cluster",
    () =>
      Effect.gen(function* () {
        const [only] = yield* cluster(1, { kind, timeoutMs: 2_000 })
        const { ask, busPort } = only!
        const directory = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-join-"))),
          (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
        )
        const flags = ["--journal", join(directory, "node.sqlite")]
        const [first, second] = [yield* joinBy(busPort, ...flags), yield* joinBy(busPort, ...flags)]
        const idOf = (lines: ReadonlyArray<string>) =>
          /^Joined as ([0-9a-f]{40})/.exec(lines[0]!)![1]
        assert.strictEqual(idOf(second), idOf(first))
        const nodes = (yield* ask("cluster", "nodes")).trim().split("\n")
        assert.strictEqual(nodes.length, 2)
      }).pipe(Effect.scoped),
    hangMs
  )
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
          assert.match(lines.at(-1)!, /primary +connected +to\+from +(0-8191|8192-16383)$/)
        }
      }).pipe(Effect.scoped),
    hangMs
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

const pem = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url))

const tlsFlags = ["--tls", "--cert", pem("client"), "--key", pem("client-key")].concat([
  "--cacert",
  pem("ca")
])

peer("redis-server", "handfast bus over TLS", () => {
  it.live(
    "joins by a client port, watches and publishes with a certificate of the cluster",
    () =>
      Effect.gen(function* () {
        const servers = yield* cluster(2, { kind, timeoutMs: 2_000, tls: true })
        const { busPort, port } = servers[0]!
        const lines = yield* joinBy(port, ...tlsFlags)
        assert.include(lines[0], `serves clients; its bus is 127.0.0.1:${busPort}`)
        assert.match(lines[1]!, /^Joined as /)
        for (const { id } of servers) {
          assert.isTrue(lines.some((line) => line.startsWith(id.slice(0, 12))))
        }
        const at = `127.0.0.1:${busPort}`
        const publish = ["bus", "publish", "--node-timeout", "2000", ...tlsFlags, at, "news", "x"]
        const { stdout } = yield* Effect.promise(() => exec(process.execPath, [main, ...publish]))
        assert.match(stdout, /^Taken by 2 nodes/)
      }).pipe(Effect.scoped),
    hangMs
  )
})

peer(["redis-server", "script"], "handfast bus join on a terminal", () => {
  /** Runs the command on a terminal of some columns, until it is stopped as by Ctrl-C. */
  const onTerminal = (port: number, columns: number, isSeen: (text: string) => boolean) =>
    Effect.callback<{ text: string; code: number | null }>((resume) => {
      const join = `${process.execPath} ${main} bus join --node-timeout 2000 127.0.0.1:${port}`
      const command = `stty cols ${columns} rows 6; exec ${join}`
      const child = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"])
      let text = ""
      child.stdout.setEncoding("utf8").on("data", (part: string) => {
        const before = isSeen(text)
        text += part.replaceAll("\u001b[", "␛")
        if (!before && isSeen(text)) child.stdin.write("\u0003")
      })
      child.once("exit", (code) => resume(Effect.succeed({ text, code })))
      return Effect.sync(() => void child.kill("SIGKILL"))
    })

  it.live(
    "draws a table that fits over itself, and leaves with a word at Ctrl-C",
    () =>
      Effect.gen(function* () {
        const servers = yield* cluster(2, { kind, timeoutMs: 2_000 })
        const columns = 44
        const drawnOver = /␛2A␛J/
        const { code, text } = yield* onTerminal(servers[0]!.busPort, columns, (text) =>
          drawnOver.test(text)
        )
        const [, table = ""] = /(␛J[^]*)\^C/.exec(text) ?? []
        const lines = table.replaceAll(/␛\d*[AJ]/g, "").split("\r\n")
        for (const { id } of servers) {
          assert.isTrue(lines.some((line) => line.startsWith(id.slice(0, 12))))
        }
        for (const line of lines) assert.isBelow(line.length, columns)
        assert.match(
          text,
          /Left\. Nodes list this one until they are told: CLUSTER FORGET [0-9a-f]{40}/
        )
        assert.strictEqual(code, 130)
      }).pipe(Effect.scoped),
    hangMs
  )
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
        const command = Effect.promise((signal) =>
          exec(process.execPath, [main, ...publish, at, "more", "two"], { signal })
        )
        const { stdout } = yield* command
        // The two servers, and the watching member if it has joined.
        assert.match(stdout, /^Taken by [23] nodes, 0 had no room, \d not connected\n$/)
        const again = yield* Effect.forkScoped(Effect.forever(command))
        const lines = yield* Fiber.join(watched)
        yield* Fiber.interruptAll([publishing, again])
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
    hangMs
  )
})

describe("handfast bus publish", { timeout: hangMs }, () => {
  it("ends with a code and a reason where it cannot join", () => {
    const flags = ["--node-timeout", "200", "127.0.0.1:1", "news", "x"]
    const { status, stderr } = run("bus", "publish", ...flags)
    assert.strictEqual(status, 3)
    assert.include(stderr, "NoAnswer")
  })
})

describe("handfast bus join", { timeout: hangMs }, () => {
  it("ends with a code and a reason where no node answers", () => {
    const { status, stderr } = run("bus", "join", "--node-timeout", "200", "127.0.0.1:1")
    assert.strictEqual(status, 3)
    assert.include(stderr, "NoAnswer")
  })

  it("refuses what is no address", () => {
    const { status, stderr } = run("bus", "join", "nowhere")
    assert.strictEqual(status, 2)
    assert.include(stderr, "not host:port")
  })

  it("refuses to listen beyond loopback without TLS", () => {
    const { status, stderr } = run("bus", "join", "--listen", "0.0.0.0", "127.0.0.1:1")
    assert.strictEqual(status, 2)
    assert.match(stderr, /^\s*ERROR\s+0\.0\.0\.0 is reached without client certificates/)
  })

  it("refuses flags of TLS that do not go together, and files that are no certificates", () => {
    const join = (...flags: ReadonlyArray<string>) => run("bus", "join", ...flags, "127.0.0.1:1")
    for (const flags of [["--tls"], ["--cert", pem("client")], tlsFlags.slice(0, -2)]) {
      const { status, stderr } = join(...flags)
      assert.strictEqual(status, 2)
      assert.include(stderr, "go together")
    }
    const key = tlsFlags.with(2, pem("client-key"))
    const { status, stderr } = join(...key)
    assert.strictEqual(status, 2)
    assert.include(stderr, "do not fit")
  })
})

describe("handfast peer bus", { timeout: hangMs }, () => {
  it.live(
    "plays each script to a node, and says what becomes of its links",
    () =>
      Effect.gen(function* () {
        const layer = BusNode.layerEphemeral({ admit: "anyone", nodeTimeoutMs: 2_000 })
        const node = yield* Layer.build(
          Layer.provide(layer, IoPool.layer({ workers: 1, closeWithinMs: 200 }))
        )
        const bus = yield* Effect.provide(BusNode, node)
        const play = (script: string) =>
          Effect.promise(async () => {
            const flags = ["peer", "bus", "--script", script, "--seconds", "3", bus.address]
            const { stdout } = await exec(process.execPath, [main, ...flags])
            return stdout
          })
        const [garbage, member] = yield* Effect.all([play("garbage"), play("member")], {
          concurrency: 2
        })
        assert.match(garbage, /^Plays garbage at 127\.0\.0\.1:\d+\n/)
        assert.include(garbage, "The other side ended a link that it had dialled")
        assert.include(member, "Joined: links lead both ways")
        assert.notInclude(member, "other side ended")
      }).pipe(Effect.scoped),
    hangMs
  )

  it("ends with a code and a reason where nothing listens, and where flags are wrong", () => {
    const nowhere = run("peer", "bus", "--script", "slow", "127.0.0.1:1")
    assert.strictEqual(nowhere.status, 3)
    assert.include(nowhere.stderr, "nothing takes connections at 127.0.0.1:1")
    const nameless = run("peer", "bus", "--script", "impostor", "127.0.0.1:1")
    assert.strictEqual(nameless.status, 2)
    assert.include(nameless.stderr, "--id")
    const unknown = run("peer", "bus", "--script", "kind", "127.0.0.1:1")
    assert.notStrictEqual(unknown.status, 0)
    assert.include(unknown.stderr, "gossip-flood")
  })
})
