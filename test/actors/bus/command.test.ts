/**
 * Goal: `handfast bus join` joins by either port of a node, and shows the cluster.
 * Method: the shipped command beside real servers, and where no node is.
 */
import { execFile, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { peer } from "../../peers.ts"
import { cluster } from "./redisServers.ts"

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
        const servers = yield* cluster(2, { timeoutMs: 2_000 })
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
        assert.match(byClient.at(-1)!, /primary +connected +(0-8191|8192-16383)?$/)
      }).pipe(Effect.scoped),
    60_000
  )
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
