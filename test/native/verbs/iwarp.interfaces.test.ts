/**
 * Goal: a port says of its interface what is so, its events say what has become different, and
 * both agree.
 * Method: a table of looks at the interfaces for the difference; and a real interface in a network
 * namespace of its own, whose addresses come and go.
 */
import { execFile, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import {
  changes,
  entriesOf,
  type InterfaceTable,
  namesIn,
  portIn,
  unseen
} from "../../../src/native/iwarp/interfaces.ts"
import { routeTo } from "../../../src/native/iwarp/route.ts"
import type { DeviceEvent } from "../../../src/native/verbs/Device.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { peer } from "../../peers.ts"

const look = (...addresses: ReadonlyArray<string>): InterfaceTable => ({
  near: addresses.map((address) => ({
    address,
    netmask: "",
    mac: "",
    internal: false,
    cidr: null,
    family: "IPv4"
  }))
})

/** An event in a word. */
const short = (event: DeviceEvent): string =>
  event._tag === "GidChanged" ? `gid ${event.index}` : event._tag

const one = "10.0.0.1"
const two = "10.0.0.2"
const three = "10.0.0.3"

const table: ReadonlyArray<
  readonly [what: string, before: InterfaceTable, after: InterfaceTable, told: string, gids: string]
> = [
  ["nothing changes", look(one, two), look(one, two), "", "0 10.0.0.1, 1 10.0.0.2"],
  ["the order changes", look(one, two), look(two, one), "", "0 10.0.0.1, 1 10.0.0.2"],
  ["an address is there twice", look(one), look(one, one), "", "0 10.0.0.1"],
  ["one comes", look(one), look(one, two), "gid 1", "0 10.0.0.1, 1 10.0.0.2"],
  ["one comes before another", look(one), look(two, one), "gid 1", "0 10.0.0.1, 1 10.0.0.2"],
  ["one goes", look(one, two), look(two), "gid 0", "1 10.0.0.2"],
  [
    "one takes another's place",
    look(one, two),
    look(three, two),
    "gid 0",
    "0 10.0.0.3, 1 10.0.0.2"
  ],
  ["all are others", look(one, two), look(three), "gid 0, gid 1", "0 10.0.0.3"],
  ["all go", look(one, two), look(), "PortDown", ""],
  ["the interface goes", look(one), {}, "PortDown", ""],
  ["only the link's own is left", look(one), look("fe80::1"), "PortDown", ""],
  ["nothing comes to nothing", {}, look("fe80::1"), "", ""],
  ["the first comes", look(), look(one), "PortUp, gid 0", "0 10.0.0.1"]
]

describe("from one look to the next", () => {
  for (const [what, before, after, told, gids] of table) {
    it(what, () => {
      const first = portIn(before, "near", unseen)
      const second = portIn(after, "near", first)
      assert.strictEqual(changes(first, second).map(short).join(", "), told)
      const entries = entriesOf(second, "near")
      const shown = entries.map(({ gid, index }) => `${index} ${Gid.toAddress(gid)}`)
      assert.strictEqual(shown.join(", "), gids)
    })
  }

  it("a port that comes back has its addresses where they were", () => {
    const first = portIn(look(one, two), "near", unseen)
    const down = portIn(look(), "near", first)
    assert.deepStrictEqual(changes(down, portIn(look(two, one), "near", down)).map(short), [
      "PortUp"
    ])
    const other = changes(down, portIn(look(two, three), "near", down))
    assert.deepStrictEqual(other.map(short), ["PortUp", "gid 0"])
  })

  it("an interface without addresses is no device", () => {
    const { near } = look(one)
    const lo = [{ ...near![0]!, internal: true }]
    assert.deepStrictEqual(namesIn({ lo, near, far: [] }), ["near", "lo"])
  })
})

const namespaces = spawnSync("unshare", ["--map-root-user", "--net", "true"]).status === 0
if (!namespaces) console.warn("not run: an interface (no network namespace may be made here)")

peer(["ip", "unshare"], "an interface", () => {
  it.runIf(namespaces)(
    "whose addresses come and go is told of by events, and by its port",
    async () => {
      const module = fileURLToPath(new URL("../../fixtures/interfaces.ts", import.meta.url))
      const command = ["--map-root-user", "--net", process.execPath, module]
      const { stdout } = await promisify(execFile)("unshare", command)
      const lines = stdout.trim().split("\n")
      const told = lines.map((line) => {
        const { events, port } = JSON.parse(line)
        const state = port.state.replace(/ECONNREFUSED.*/, "ECONNREFUSED")
        return [events.map(short).join(), state, (port.gids ?? []).join()].join(" ").trim()
      })
      assert.deepStrictEqual(told, [
        "gid 1 active 0: 10.9.1.1,1: 10.9.2.1",
        "gid 0 active 1: 10.9.2.1",
        "gid 0 active 0: 10.9.3.1,1: 10.9.2.1",
        "PortDown down",
        "PortUp active 0: 10.9.3.1,1: 10.9.2.1",
        "taken",
        "connect ECONNREFUSED",
        "taken",
        "taken",
        "active 0: 10.9.3.1",
        "PortDown down",
        "InvalidAttribute"
      ])
    },
    30_000
  )
})

describe("the route to a host", () => {
  it.effect("leads through the interface whose address the system would use", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* routeTo("127.0.0.1"), "lo")
      assert.strictEqual(yield* routeTo("localhost"), "lo")
    })
  )

  it.effect("is none to a host that has no address", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* routeTo("no-such-host.invalid"), undefined)
    })
  )
})
