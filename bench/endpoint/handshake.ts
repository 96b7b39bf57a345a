/**
 * A handshake with its acknowledgement, one after the other, over the loopback interface: two
 * connections, a message each way on each.
 */
import * as net from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as EndpointStore from "../../src/actors/endpoint/EndpointStore.ts"
import { Handshakes, type Half } from "../../src/actors/endpoint/Handshake.ts"
import * as HandshakeServer from "../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import type { ReadyLink } from "../../src/actors/endpoint/ReadyLink.ts"
import * as Nic from "../../src/actors/rdma/Nic.ts"
import * as TcpHandshakes from "../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../src/native/io/IoPool.ts"
import { SimFabric } from "../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../src/native/sim/SimVerbs.ts"
import type { Epoch } from "../../src/schema/Epoch.ts"
import * as Gid from "../../src/schema/Gid.ts"
import type { Outcome } from "../harness.ts"
import { median } from "../statistics.ts"

/**
 * As many again warm up. Each leaves two ports that nobody may use for a minute, and a kernel that
 * looks for free ones among them takes its time, so there are not more.
 */
const counts = { bare: 1_500, whole: 1_000 }

/**
 * Times handshakes one by one, after as many to warm up; the median of them. The end of each, which
 * is no part of it, is awaited before the next one.
 */
const timed = async <A>(
  handshakes: number,
  one: () => Promise<A>,
  end: (one: A) => Promise<unknown> = async () => undefined
): Promise<Record<string, Outcome>> => {
  const times: Array<number> = []
  for (let count = -handshakes; count < handshakes; count++) {
    const begin = performance.now()
    const made = await one()
    if (count >= 0) times.push((performance.now() - begin) * 1000)
    await end(made)
  }
  const value = median(times)
  return { handshake: { value, unit: "µs", completed: times.length, expected: handshakes } }
}

const body = {
  local_gid: "00:00:00:00:00:00:00:00:00:00:ff:ff:0a:00:00:01",
  local_lid: 0,
  local_nic_path: "127.0.0.1:15101@nic0",
  payload: "",
  peer_nic_path: "127.0.0.1:15102@nic0",
  qp_num: [673, 674],
  ready_ack: false,
  reply_msg: ""
}

/** The bare work: JSON of the same size, two fresh connections, no frames and no checks. */
export const byNet = async () => {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("data", (data) => socket.end(JSON.stringify(JSON.parse(data.toString()))))
  })
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  const { port } = server.address() as net.AddressInfo
  const trip = () =>
    new Promise((answered) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
      socket.on("connect", () => socket.write(JSON.stringify(body)))
      socket.on("data", (data) => {
        answered(JSON.parse(data.toString()))
        socket.destroy()
      })
    })
  return timed(counts.bare, async () => {
    await trip()
    await trip()
  })
}

export const half: Half = {
  queuePairs: [673, 674],
  gid: Gid.fromAddress("10.0.0.1")!,
  lid: 0,
  epoch: "0123abcd.7" as Epoch,
  mtu: 4096
}

const inPool = <A, E>(
  program: Effect.Effect<A, E, IoPool | Handshakes | Scope.Scope>
): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(program).pipe(
      Effect.provide(TcpHandshakes.layer().pipe(Layer.provideMerge(IoPool.layer({ workers: 0 }))))
    )
  )

/** Client and server, with a reception that answers at once. */
export const byServer = () =>
  inPool(
    Effect.gen(function* () {
      const server = yield* HandshakeServer.make({ host: "127.0.0.1", port: 0 })
      const { acknowledge, offer } = yield* Handshakes
      const [from, to] = ["127.0.0.1:1@nic0", `127.0.0.1:${server.port}@nic0`]
      const knows = half.epoch
      yield* server.serve(to, {
        takeOffer: () => Effect.succeed({ from: to, to: from, half, knows, hasGate: true }),
        takeAcknowledgement: () => Effect.void,
        takeFarewell: () => Effect.void
      })
      const one = Effect.andThen(
        offer({ from, to, half, knows: undefined, hasGate: true }),
        acknowledge({ from, to, half, knows })
      )
      return yield* Effect.promise(() => timed(counts.bare, () => Effect.runPromise(one)))
    })
  )

/**
 * Two whole endpoints with it, which make simulated queue pairs each time, until the caller has its
 * open link. Then it is retired: both drain their queue pairs before the next handshake.
 */
export const byEndpoints = () =>
  inPool(
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const host = Effect.fnUntraced(function* (name: string) {
        const server = yield* HandshakeServer.make({ host: "127.0.0.1", port: 0 })
        const nic = yield* Nic.open({ path: `127.0.0.1:${server.port}@${name}` }).pipe(
          Effect.provide(SimVerbs.layer(fabric, { host: name }))
        )
        const store = yield* EndpointStore.make({ nic }).pipe(Effect.provide(Journal.layerMemory))
        yield* server.serve(nic.path, store)
        return { nic, store }
      })
      const [a, b] = [yield* host("a"), yield* host("b")]
      const one = a.store.open(b.nic.path)
      const end = async (link: ReadyLink) => {
        await Effect.runPromise(a.store.retire(link, "broken", "measured"))
        while (fabric.resources().queuePairs > 0) await nextTurn()
      }
      return yield* Effect.promise(() => timed(counts.whole, () => Effect.runPromise(one), end))
    })
  )
