/**
 * Transfers between two devices whose packets cross a pair of network interfaces: also while the
 * link loses packets, and when it is down and comes back.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { failedSlices } from "../../../src/actors/transfer/TransferMetrics.ts"
import { TransferNode } from "../../../src/actors/transfer/TransferNode.ts"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { type Named, report } from "./report.ts"
import { until } from "./until.ts"

const run = (line: string) =>
  Effect.sync(() => {
    const [program = "", ...args] = line.split(" ")
    return execFileSync(program, args).toString()
  })

const runAll = (lines: ReadonlyArray<string>) => Effect.forEach(lines, run, { discard: true })

const ends = [
  { device: "rxea", link: "v0", address: "10.9.1.1", peer: "10.9.1.2", table: 101 },
  { device: "rxeb", link: "v1", address: "10.9.1.2", peer: "10.9.1.1", table: 102 }
] as const

/** The way to the other end, which goes when a link does. */
const routes = ends.map(
  ({ address, link, peer, table }) =>
    `ip route replace ${peer} dev ${link} src ${address} table ${table}`
)

/** Packets from an address of this machine are taken, and each link answers for its own address. */
const settings = { rp_filter: 0, accept_local: 1, arp_ignore: 1, arp_announce: 2 }

const setLinks = Effect.sync(() => {
  for (const link of ["all", ...ends.map(({ link }) => link)]) {
    for (const [name, value] of Object.entries(settings)) {
      writeFileSync(`/proc/sys/net/ipv4/conf/${link}/${name}`, `${value}`)
    }
  }
})

/**
 * Both ends are addresses of this machine, which would hand packets over without any interface. So
 * its own addresses are looked up last, but for packets that come in by an interface.
 */
const setUp = run("ip link add v0 type veth peer name v1").pipe(
  Effect.andThen(setLinks),
  Effect.andThen(
    runAll([
      ...ends.flatMap(({ address, link, peer, table }) => [
        `ip address add ${address}/24 dev ${link}`,
        `ip link set ${link} up`,
        `ip rule add pref 10 iif ${link} lookup local`,
        `ip rule add pref 20 from ${address} to ${peer} lookup ${table}`
      ]),
      ...routes,
      "ip rule add pref 100 lookup local",
      "ip rule delete pref 0",
      ...ends.map(({ device, link }) => `rdma link add ${device} type rxe netdev ${link}`)
    ])
  )
)

const bytes = 4 << 20

/** A node with one of the devices, and the memory that it offers. */
const nodeOn = Effect.fnUntraced(function* (device: string) {
  const { gids } = yield* Effect.scoped(
    Effect.flatMap((yield* Verbs).open(device), (opened) => opened.port())
  )
  const gidIndex = gids.find(({ gid }) => gid.startsWith("00000000000000000000ffff"))!.index
  const node = yield* Layer.build(
    TransferNode.layer({
      host: "127.0.0.1",
      peers: ["127.0.0.1"],
      handshake: { port: 0 },
      nics: [{ device, gidIndex }]
    }).pipe(Layer.provide([IbVerbs.layer(), Journal.layerMemory]))
  )
  const engine = Context.get(node, TransferEngine)
  const memory = yield* engine.register({
    name: "memory",
    memory: bytes,
    access: ["local-write", "remote-write", "remote-read"]
  })
  return { engine, memory, server: Context.get(node, TransferNode).server }
})

/** Writes half of the memory to the other node, and reads the other half from there. */
const moveOn = Effect.gen(function* () {
  const [a, b] = [yield* nodeOn("rxea"), yield* nodeOn("rxeb")]
  const half = bytes / 2
  let turn = 0
  return Effect.gen(function* () {
    turn += 1
    a.memory.bytes.fill(turn, 0, half)
    b.memory.bytes.fill(turn, half)
    yield* a.engine.transfer({
      durable: true,
      id: `turn ${turn}`,
      peer: b.server,
      ops: [
        { op: "write", from: a.memory.slice(0, half), to: { buffer: "memory" } },
        { op: "read", from: { buffer: "memory", offset: half }, to: a.memory.slice(half) }
      ]
    })
    for (const { memory } of [a, b]) assert.ok(memory.bytes.every((byte) => byte === turn))
  })
})

/** Changes the network, and undoes it when the Scope closes. */
const changed = (change: ReadonlyArray<string>, undo: ReadonlyArray<string>) =>
  Effect.acquireRelease(runAll(change), () => runAll(undo))

const tests: ReadonlyArray<Named<Verbs | Scope.Scope>> = [
  {
    name: "two devices move memory to and from each other",
    test: Effect.gen(function* () {
      const move = yield* moveOn
      const before = yield* Metric.value(failedSlices)
      yield* move
      yield* move
      assert.equal((yield* Metric.value(failedSlices)).count, before.count)
    })
  },
  {
    name: "a link that loses packets loses nothing of a transfer",
    test: Effect.gen(function* () {
      yield* changed(
        ["tc qdisc add dev v0 root netem loss 2%", "tc qdisc add dev v1 root netem loss 2%"],
        ["tc qdisc delete dev v0 root", "tc qdisc delete dev v1 root"]
      )
      yield* Effect.flatten(moveOn)
      assert.match(yield* run("tc -s qdisc show dev v0"), /dropped [1-9]/)
    })
  },
  {
    name: "transfers go on when a link that was down comes back",
    test: Effect.gen(function* () {
      const move = yield* moveOn
      yield* move
      const isDown = Effect.map(run("rdma link show rxea/1"), (line) => line.includes("state DOWN"))
      const moving = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* changed(["ip link set v0 down"], ["ip link set v0 up", ...routes])
          const moving = yield* Effect.forkDetach(move)
          yield* until("the port is down", isDown)
          return moving
        })
      )
      yield* Fiber.join(moving)
      yield* move
    })
  }
]

await Effect.runPromise(
  setUp.pipe(
    Effect.andThen(report(tests.map(({ name, test }) => ({ name, test: Effect.scoped(test) })))),
    Effect.provide(IbVerbs.layer())
  )
)
