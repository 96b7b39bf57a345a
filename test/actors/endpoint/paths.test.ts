/**
 * Goal: every pair of a local NIC and a remote NIC has an endpoint of its own (R34).
 * Method: hosts with several NICs and one journal, on a simulated fabric; towards Mooncake, a raw
 * server that answers with its bytes.
 */
import { assert, describe, it as plain } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EndpointStore from "../../../src/actors/endpoint/EndpointStore.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { answering, pool } from "./tcp.ts"
import { write } from "./simHosts.ts"

const open = Effect.fnUntraced(function* (path: string, device: string) {
  const nic = yield* Nic.open({ path, device })
  return { nic, store: yield* EndpointStore.make({ nic }) }
})

describe("endpoints by both of their paths", () => {
  it.sim("R34: two local NICs reach two remote NICs, all four ways carry data", { seeds: 5 }, () =>
    Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const devices = ["x", "y"]
      const on = (host: string) =>
        Effect.forEach(devices, (device) =>
          Effect.tap(open(`${host}@${device}`, device), ({ nic, store }) =>
            network.serve(nic.path, store)
          )
        ).pipe(
          Effect.provide(
            Layer.mergeAll(
              SimVerbs.layer(fabric, { host, devices }),
              network.layer,
              Journal.layerMemory
            )
          )
        )
      const [here, there] = [yield* on("a"), yield* on("b")]
      const pairs = here.flatMap((local) => there.map((remote) => ({ local, remote })))
      const links = yield* Effect.forEach(
        pairs,
        ({ local, remote }) => local.store.open(remote.nic.path),
        { concurrency: "unbounded" }
      )
      for (const [index, { local, remote }] of pairs.entries()) {
        assert.strictEqual(yield* write(local, remote, links[index]!, 64), "success")
        assert.isTrue((yield* remote.store.open(local.nic.path)).isOpen)
      }
      assert.isTrue(links.every(({ isOpen }) => isOpen))
    })
  )

  plain.live("R34: two hundred local NICs reach one NIC of Mooncake", () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const devices = Array.from({ length: 200 }, (_, index) => `x${index}`)
      let number = 0
      const server = yield* answering((text) => {
        const said = JSON.parse(text)
        const isAck = said.ready_ack === true
        const reply = {
          local_gid: isAck ? "" : said.local_gid,
          local_lid: 0,
          local_nic_path: isAck ? "" : said.peer_nic_path,
          payload: "",
          peer_nic_path: isAck ? "" : said.local_nic_path,
          qp_num: isAck ? [] : [++number, ++number],
          ...(isAck ? {} : { ready_ack: false }),
          reply_msg: ""
        }
        return `${JSON.stringify(reply)}\n`
      })
      yield* Effect.gen(function* () {
        const cards = yield* Effect.forEach(devices, (device) => open(`a:1@${device}`, device))
        const links = yield* Effect.forEach(
          cards,
          ({ store }) => store.open(`127.0.0.1:${server}@mlx5_0`),
          { concurrency: "unbounded" }
        )
        assert.isTrue(links.every(({ isOpen }) => isOpen))
        assert.strictEqual(new Set(links.map(({ local }) => local)).size, 200)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(
            SimVerbs.layer(fabric, { host: "a", devices }),
            TcpHandshakes.layer(),
            Journal.layerMemory
          )
        )
      )
    }).pipe(Effect.provide(pool))
  )
})
