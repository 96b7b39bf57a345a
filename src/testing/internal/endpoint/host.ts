/** A simulated host: a card, an engine, and a program that moves memory to and from others. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { Directory, NoDescription } from "../../../actors/rdma/Directory.ts"
import { Endpoints } from "../../../actors/endpoint/Endpoints.ts"
import type { Memory } from "../../../actors/rdma/Memory.ts"
import { Nics } from "../../../actors/rdma/Nics.ts"
import { TransferEngine } from "../../../actors/transfer/TransferEngine.ts"
import { Journal } from "../../../actors/kernel/Journal.ts"
import type { SimFabric } from "../../../native/sim/SimFabric.ts"
import * as SimVerbs from "../../../native/sim/SimVerbs.ts"
import type { SimHandshakes } from "../../SimHandshakes.ts"
import type { Life, Witness } from "./transferChecker.ts"

export interface Setting {
  readonly name: string
  readonly names: ReadonlyArray<string>
  readonly fabric: SimFabric
  readonly network: SimHandshakes
  readonly witness: Witness
  readonly gate: "on" | "off"
}

/** Octets that each host has for each other one; four slices. */
const SHARE = 1_024
const settings = { sliceBytes: 256, patience: 5_000, stall: 3_000 }
/** Milliseconds that a transfer may take. */
const WITHIN = 15_000
/** The share of transfers with a deadline. */
const BOUNDED = 0.5
/** How often a host registers its memory anew, for each transfer that it begins. */
const ANEW = 0.05
/** The longest pause between two transfers of a host, in milliseconds. */
const PAUSE = 300
const everything = ["local-write", "remote-write", "remote-read"] as const

/** All that a host is made of, over the simulated card. */
const layerOf = ({ fabric, gate, name, names, network, witness }: Setting) => {
  const directory = Layer.succeed(Directory, {
    resolve: (peer) =>
      Effect.suspend(() => {
        const life = witness.lifeOf(peer)
        return life === undefined
          ? Effect.fail(new NoDescription({ peer, reason: "unknown", detail: "never seen" }))
          : life.description
      })
  })
  // One host has fewer places than peers, so that endpoints are evicted.
  const capacity = name === names[0] ? names.length - 2 : names.length - 1
  const endpoints = Endpoints.layer({ capacity, rules: { gate } })
  return TransferEngine.layer(settings).pipe(
    Layer.provideMerge(endpoints),
    Layer.provideMerge(Nics.layer([{ path: `${name}@sim0` }])),
    Layer.provide([
      directory,
      network.layer,
      Journal.layerMemory,
      SimVerbs.layer(fabric, { host: name, gids: 2 })
    ])
  )
}

/** One transfer of random octets, and a look at what it did. */
const transfer = Effect.fnUntraced(function* (
  { name, names, witness }: Setting,
  own: Life,
  outbox: Memory
) {
  const engine = yield* TransferEngine
  const others = names.filter((other) => other !== name)
  const to = others[yield* Random.nextIntBetween(0, others.length - 1)]!
  const peer = witness.lifeOf(to)
  const at = SHARE * names.indexOf(name)
  const piece = outbox.slice(SHARE * names.indexOf(to), SHARE)
  const place = { buffer: "inbox", offset: at }
  const isWrite = yield* Random.nextBoolean
  const here = outbox.octets.subarray(piece.offset, piece.offset + piece.length)
  here.fill(yield* Random.nextIntBetween(0, 255))
  const within = (yield* Random.next) < BOUNDED ? WITHIN : undefined
  const before = peer?.inboxes.length ?? 0
  const id = witness.accept(own)
  const done = yield* Effect.exit(
    isWrite
      ? engine.write({ peer: to, from: piece, to: place, within })
      : engine.read({ peer: to, from: place, to: piece, within })
  )
  witness.end(own, id)
  if (Exit.isFailure(done)) {
    const isBroken = done.cause.reasons.some(({ _tag }) => _tag === "Die")
    if (isBroken) witness.complaint ??= `a transfer broke: ${Cause.pretty(done.cause)}`
    return
  }
  witness.moved(name, to)
  // Memory of a peer that has begun anew is not the memory that was written.
  if (peer === undefined || peer !== witness.lifeOf(to)) return
  // All of it was in one registration: in that of the beginning, or in one that came meanwhile.
  const places = peer.inboxes.slice(Math.max(0, before - 1))
  if (!places.some((inbox) => Buffer.compare(here, inbox.subarray(at, at + SHARE)) === 0)) {
    witness.complaint ??= `what ${name} moved ${isWrite ? "to" : "from"} ${to} is not there`
  }
})

/** The whole life of a host. */
export const host = (setting: Setting) =>
  Effect.gen(function* () {
    const { names, network, witness } = setting
    const engine = yield* TransferEngine
    for (const [path, store] of yield* Endpoints) yield* network.serve(path, store)
    const options = { memory: SHARE * names.length, access: everything }
    const inboxes: Array<Uint8Array> = []
    const openInbox = Effect.gen(function* () {
      const scope = yield* Scope.make()
      const inbox = yield* Scope.provide(engine.register({ name: "inbox", ...options }), scope)
      inboxes.push(inbox.octets)
      return scope
    })
    let inbox = yield* openInbox
    const outbox = yield* engine.register({ name: "outbox", ...options })
    const life = { description: engine.description, inboxes }
    witness.begin(setting.name, life)
    while (!witness.isOver) {
      if ((yield* Random.next) < ANEW) {
        yield* Scope.close(inbox, Exit.void)
        inbox = yield* openInbox
      }
      yield* transfer(setting, life, outbox)
      yield* Effect.sleep(yield* Random.nextBetween(0, PAUSE))
    }
    // Others may still need this side.
    yield* Effect.sleep(2 * WITHIN)
    yield* Scope.close(inbox, Exit.void)
  }).pipe(Effect.provide(layerOf(setting)))
