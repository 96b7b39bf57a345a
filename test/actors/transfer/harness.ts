/**
 * What tests of transfers share: hosts with cards and an engine each, and links between them.
 *
 * The links are real queue pairs of the provider. Only how the two sides learn of each other is
 * short: both ends are in this process, so each is told of the other without a handshake.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Directory, NoDescription, type PeerBuffer } from "../../../src/actors/rdma/Directory.ts"
import { type LinkFailure, Links } from "../../../src/actors/endpoint/Links.ts"
import type { Memory } from "../../../src/actors/rdma/Memory.ts"
import type { Nic } from "../../../src/actors/rdma/Nic.ts"
import { Nics } from "../../../src/actors/rdma/Nics.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import type { Settings as TransfersSettings } from "../../../src/actors/transfer/Transfers.ts"
import { type Settings, TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import type { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { Epochs } from "../../../src/actors/kernel/Epochs.ts"
import { type Epoch, EpochSource } from "../../../src/schema/Epoch.ts"

/** How links are made here. */
export interface Wires {
  readonly queuePairs: number
  readonly depth: number
  /** How long a card waits for an answer, as a code; 0 is for ever. */
  readonly timeout: number
  /** Milliseconds until a link is ready. */
  readonly gate: number
  /** Whether links name the peer's process, as those of our own kind do. */
  readonly isNamed: boolean
  /** What stands in the way of an attempt; an effect that fails, takes long, or never ends. */
  readonly obstacle: (local: string, peer: string) => Effect.Effect<void, LinkFailure>
  /** Which bytes a post may be of, to see what is posted. */
  readonly onPost: (link: ReadyLink, request: SendRequest) => void
}

const epochs = new EpochSource(1)

/** Moves a queue pair up to RTS, towards another one. */
export const connect = Effect.fnUntraced(function* (
  own: QueuePair,
  ownNic: Nic,
  peer: QueuePair,
  nic: Nic,
  timeout: number
) {
  const here = yield* ownNic.place
  const { gid, lid, mtu } = yield* nic.place
  const rights = ["remote-write", "remote-read"] as const
  yield* own.modify({ to: "init", access: rights })
  const path = { gid, lid }
  yield* own.modify({ to: "rtr", path, mtu: mtu < here.mtu ? mtu : here.mtu, peer: peer.number })
  yield* own.modify({ to: "rts", timeout })
})

class LabLink implements ReadyLink {
  readonly epoch = epochs.next()
  readonly local: string
  readonly peer: string
  readonly peerQueuePairs: ReadonlyArray<number>
  readonly peerEpoch: Epoch | undefined
  readonly queuePairs: ReadonlyArray<QueuePair>
  readonly scope: Scope.Closeable
  isRetired = false
  readonly #wires: Wires

  constructor(
    local: Nic,
    peer: Nic,
    own: ReadonlyArray<QueuePair>,
    others: ReadonlyArray<QueuePair>,
    scope: Scope.Closeable,
    wires: Wires,
    peerEpoch: Epoch | undefined
  ) {
    this.local = local.path
    this.peer = peer.path
    this.queuePairs = own
    this.peerQueuePairs = others.map(({ number }) => number)
    this.scope = scope
    this.peerEpoch = peerEpoch
    this.#wires = wires
  }

  get isOpen() {
    return !this.isRetired && this.queuePairs.every(({ state }) => state === "rts")
  }

  get room() {
    return Math.max(...this.queuePairs.map(({ freeSendSlots: sendRoom }) => sendRoom))
  }

  get roomiest() {
    return this.queuePairs.toSorted((a, b) => b.freeSendSlots - a.freeSendSlots)[0]!.number
  }

  post(request: SendRequest, number = this.roomiest) {
    if (!this.isOpen) return "not-ready"
    const posted = this.queuePairs.find((one) => one.number === number)!.post(request)
    if (posted === "accepted") this.#wires.onPost(this, request)
    return posted
  }
}

/** All hosts of a test, and what was done between them. */
export class Network {
  readonly wires: Wires
  readonly nics = new Map<string, Nic>()
  /** Of the process of each host, by the paths of its cards. */
  readonly epochs = new Map<string, EpochSource>()
  readonly engines = new Map<string, TransferEngine["Service"]>()
  /** Instead of what an engine says of itself. */
  readonly said = new Map<string, unknown>()
  readonly links = new Set<LabLink>()
  attempts = 0
  /** Whether attempts never end. */
  isStuck = false
  lookups = 0
  posts = 0
  /** How long the directory takes. */
  answers: Effect.Effect<void, NoDescription> = Effect.void
  /** Who is told of links that a peer has opened, by host. */
  readonly listeners = new Map<string, (link: ReadyLink) => void>()
  readonly retired: Array<string> = []
  readonly #run: (effect: Effect.Effect<void>) => unknown

  constructor(wires: Partial<Wires>, run: (effect: Effect.Effect<void>) => unknown) {
    this.#run = run
    this.wires = {
      queuePairs: 2,
      depth: 256,
      timeout: 14,
      gate: 1,
      isNamed: true,
      obstacle: () => Effect.void,
      onPost: () => undefined,
      ...wires
    }
  }

  readonly open = Effect.fnUntraced(
    { self: this },
    function* (this: Network, nic: Nic, peer: string): Effect.fn.Return<ReadyLink, LinkFailure> {
      this.attempts += 1
      if (this.isStuck) return yield* Effect.never
      yield* this.wires.obstacle(nic.path, peer)
      yield* Effect.sleep(this.wires.gate)
      const other = this.nics.get(peer)
      if (other === undefined) return yield* Effect.fail({ _tag: "Gone", message: "nobody there" })
      const scope = yield* Scope.make()
      const make = ({ completions, domain }: Nic) =>
        domain.queuePair({ sendCompletions: completions, sendDepth: this.wires.depth })
      const { queuePairs, timeout } = this.wires
      const pairs = yield* Effect.all(
        Array.from({ length: queuePairs }, () => [nic, other]).map(([one, two]) =>
          Effect.all([make(one!), make(two!)])
        )
      ).pipe(Scope.provide(scope), Effect.orDie)
      for (const [own, its] of pairs) {
        const both = [
          connect(own, nic, its, other, timeout),
          connect(its, other, own, nic, timeout)
        ]
        yield* Effect.all(both, { concurrency: 2 }).pipe(
          Effect.mapError(({ _tag, message }) => ({ _tag, message })),
          Effect.onError(() => Scope.close(scope, Exit.void))
        )
      }
      const [own, its] = [pairs.map(([one]) => one), pairs.map(([, two]) => two)]
      const wires = {
        ...this.wires,
        onPost: (link: ReadyLink, request: SendRequest) => {
          this.posts += 1
          this.wires.onPost(link, request)
        }
      }
      const named = this.wires.isNamed ? this.epochs.get(peer)?.next() : undefined
      const link = new LabLink(nic, other, own, its, scope, wires, named)
      this.links.add(link)
      return link
    }
  )

  readonly retire = (link: ReadyLink, reason: string): void => {
    const found = [...this.links].find((one) => one === link)
    if (found === undefined || found.isRetired) return
    found.isRetired = true
    this.links.delete(found)
    this.retired.push(reason)
    this.#run(Scope.close(found.scope, Exit.void))
  }

  readonly resolve = (peer: string): Effect.Effect<unknown, NoDescription> =>
    Effect.flatMap(
      Effect.suspend(() => {
        this.lookups += 1
        return this.answers
      }),
      () => {
        const said = this.said.get(peer)
        if (said !== undefined) return Effect.succeed(said)
        const engine = this.engines.get(peer)
        return engine === undefined
          ? Effect.fail(new NoDescription({ peer, reason: "unknown", detail: "not in the lab" }))
          : engine.description
      }
    )
}

/** Hosts and links that last as long as the Scope. */
export const network = (wires: Partial<Wires> = {}): Effect.Effect<Network, never, Scope.Scope> =>
  Effect.map(FiberSet.makeRuntime(), (run) => new Network(wires, run))

/** A host with its cards and its engine; its name is its name in the directory. */
export const host = Effect.fnUntraced(function* <E, R>(
  net: Network,
  name: string,
  verbs: Layer.Layer<Verbs, E, R>,
  options: {
    readonly devices?: ReadonlyArray<string>
    readonly completions?: number
    readonly settings?: Settings & TransfersSettings
    /** Keeps durable transfers there. */
    readonly journal?: Store
  } = {}
) {
  const { completions, devices = ["sim0"], journal, settings } = options
  const nics = devices.map((device) => ({ device, completions, path: `${name}@${device}` }))
  const durable = TransferEngine.layerDurable(name, settings).pipe(
    Layer.provide(Layer.succeed(Journal, journal!))
  )
  const layer = (journal === undefined ? TransferEngine.layer(settings) : durable).pipe(
    Layer.provideMerge(Nics.layer(nics)),
    Layer.provide(
      Layer.succeed(Links, {
        open: net.open,
        listen: (listener) => Effect.sync(() => void net.listeners.set(name, listener)),
        retire: net.retire
      })
    ),
    Layer.provide(Layer.succeed(Directory, { resolve: net.resolve })),
    Layer.provide(verbs)
  )
  const context = yield* Layer.build(layer)
  const source = yield* Epochs
  for (const nic of Context.get(context, Nics)) {
    net.nics.set(nic.path, nic)
    net.epochs.set(nic.path, source)
  }
  const engine = Context.get(context, TransferEngine)
  net.engines.set(name, engine)
  return engine
})

/** The hosts `a` and `b` on a fabric of their own. */
export const pair = Effect.fnUntraced(function* (
  options: Parameters<typeof host>[3] & {
    readonly wires?: Partial<Wires>
    /** What the provider says of itself. */
    readonly acknowledges?: boolean
  } = {}
) {
  const fabric = yield* SimFabric.make()
  const net = yield* network(options.wires)
  const { devices = ["sim0"] } = options
  const { acknowledges = true } = options
  const on = (name: string) => {
    const verbs = Effect.map(Effect.service(Verbs), (provider) => {
      const capabilities = { ...provider.capabilities, acknowledges }
      return { ...provider, capabilities }
    }).pipe(Effect.provide(SimVerbs.layer(fabric, { host: name, devices })))
    return host(net, name, Layer.effect(Verbs, verbs), options)
  }
  return { fabric, net, a: yield* on("a"), b: yield* on("b") }
})

/** Bytes that can be told apart. */
export const pattern = (length: number, seed = 1): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + seed * 17 + (index >> 8)
  return bytes
}

/** Where two arrays first differ; -1 for nowhere. */
export const differsAt = (one: Uint8Array, other: Uint8Array): number =>
  one.findIndex((byte, index) => byte !== other[index])

const everything = ["local-write", "remote-write", "remote-read"] as const

/** Memory for peers, filled with a pattern if there is a seed. */
export const shared = Effect.fnUntraced(function* (
  engine: TransferEngine["Service"],
  name: string,
  bytes: number,
  seed = 0
): Effect.fn.Return<Memory, unknown, Scope.Scope> {
  const memory = yield* engine.register({ name, memory: bytes, access: everything })
  if (seed > 0) memory.bytes.set(pattern(bytes, seed))
  return memory
})

/** A buffer as a peer of another kind describes it, which does not say what it is for. */
export const withoutRights = ({ address, keys, length, name }: PeerBuffer): PeerBuffer => ({
  address,
  keys,
  length,
  name
})

/** Milliseconds that an effect takes. */
export const timed = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const before = yield* Clock.currentTimeMillis
  const value = yield* effect
  return { value, millis: (yield* Clock.currentTimeMillis) - before }
})
