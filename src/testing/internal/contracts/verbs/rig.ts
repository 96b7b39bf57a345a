/** Helpers for the tests of the verbs contract: two ends, and their work. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Gid from "../../../../schema/Gid.ts"
import {
  Completion,
  CompletionBatch,
  type CompletionQueue
} from "../../../../native/verbs/Completion.ts"
import type { Connection, ConnectParams } from "../../../../native/verbs/Connection.ts"
import type { Device, PortInfo, ProtectionDomain } from "../../../../native/verbs/Device.ts"
import type { Options, QueuePair } from "../../../../native/verbs/QueuePair.ts"
import type { ToReadyToSend } from "../../../../native/verbs/QueuePairState.ts"
import type { Access, Region } from "../../../../native/verbs/Region.ts"
import { type Posted, ReceiveRequest, SendRequest } from "../../../../native/verbs/WorkRequest.ts"
import type { Capabilities, Provider } from "../../../../native/verbs/Verbs.ts"
import { ContractViolation, same } from "../contract.ts"
import { type Case, Pair, Patience } from "./pair.ts"

/** All rights of a peer. */
export const everything: ReadonlyArray<Access> = [
  "local-write",
  "remote-write",
  "remote-read",
  "remote-atomic"
]

/** Options of an end. */
export interface EndOptions extends Partial<Options> {
  readonly capacity?: number
  /** Bytes of its region. */
  readonly bytes?: number
  /** The rights of a peer on the queue pair. */
  readonly access?: ReadonlyArray<Access>
}

/** One end, with a queue pair in `init` and a region with all rights. */
export interface End {
  readonly capabilities: Capabilities
  readonly device: Device
  readonly port: PortInfo
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  readonly queuePair: QueuePair
  readonly region: Region
}

/** Makes an end. */
export const end = Effect.fnUntraced(function* (provider: Provider, options: EndOptions = {}) {
  const { access = everything, bytes = 65536, capacity, ...rest } = options
  const device = yield* provider.open()
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(capacity)
  const region = yield* domain.register({ memory: bytes, access: everything })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions, ...rest })
  yield* queuePair.modify({ to: "init", access })
  const port = yield* device.port()
  const { capabilities } = provider
  const made: End = { capabilities, device, port, domain, completions, queuePair, region }
  return made
})

/** Two ends that are connected by the provider. */
export interface Connected {
  readonly a: End
  readonly b: End
  readonly ab: Connection
  readonly ba: Connection
}

const ends = Effect.fnUntraced(function* (options: EndOptions, other: EndOptions = options) {
  const { active, passive } = yield* Pair
  return { a: yield* end(active, options), b: yield* end(passive, other) }
})

/** Connects through the provider. `terms` are those of both sides. */
export const connect = Effect.fnUntraced(function* (a: End, b: End, terms: ConnectParams = {}) {
  const listener = yield* b.device.listen()
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((request) => request.accept({ ...terms, queuePair: b.queuePair })),
    Effect.forkScoped({ startImmediately: true })
  )
  const ab = yield* a.device.connect({ ...terms, to: listener.address, queuePair: a.queuePair })
  return { ab, ba: yield* Fiber.join(accepting) }
})

/** Two connected ends. */
export const connected = Effect.fnUntraced(function* (
  options: EndOptions = {},
  terms: ConnectParams = {},
  other: EndOptions = options
): Effect.fn.Return<Connected, unknown, Pair | Scope.Scope> {
  const { a, b } = yield* ends(options, other)
  return { a, b, ...(yield* connect(a, b, terms)) }
})

/** Connects one side out of band: takes its queue pair to `rts`, with the other as its peer. */
export const toReady = Effect.fnUntraced(function* (
  local: End,
  other: End,
  sending: Omit<ToReadyToSend, "to"> = {}
) {
  const { activeMtu, gids, lid } = other.port
  const mtu = activeMtu < local.port.activeMtu ? activeMtu : local.port.activeMtu
  const path = { gid: gids[0]!.gid, lid }
  yield* local.queuePair.modify({ to: "rtr", path, mtu, peer: other.queuePair.number })
  yield* local.queuePair.modify({ to: "rts", ...sending })
})

/** Two ends that are not connected. */
export const apart = ends

/** The address of an end's first port. */
export const hostOf = ({ port }: End): string => Gid.toAddress(port.gids[0]!.gid)

/** A test of the contract. Its resources are released when it ends. */
export const demand = (
  name: string,
  test: () => Generator<Effect.Effect<unknown, unknown, Pair | Scope.Scope>, void, never>,
  needs: Case["needs"] = []
): Case => ({
  name,
  needs,
  test: Effect.flatMap(Patience, (duration) =>
    Effect.timeoutOrElse(Effect.scoped(Effect.gen(test)), {
      duration,
      orElse: () =>
        Effect.fail(new ContractViolation({ detail: `nothing more happened within ${duration}` }))
    })
  )
})

/** Fills a send request, by default with a send of the region's first bytes. */
export const work = (
  local: End,
  change: Partial<SendRequest> & { length?: number; at?: number }
) => {
  const { at = 0, length = 0, ...fields } = change
  const request = Object.assign(new SendRequest(), fields)
  if (length > 0) request.scatterList.add(local.region, at, length)
  return request
}

/** Posts a send; it must be accepted. */
export const post = (local: End, request: SendRequest) =>
  Effect.suspend(() => accepted(local.queuePair.post(request), `post of a ${request.opcode}`))

/** Posts a receive into a part of the region; it must be accepted. */
export const receive = (local: End, id: number, at = 0, length = 1024) =>
  Effect.suspend(() =>
    accepted(local.queuePair.postReceive(toReceive(local, id, at, length)), "post of a receive")
  )

const accepted = (posted: Posted, what: string) => same(posted, "accepted", what)

/** A receive of the region's first bytes. */
export const toReceive = (local: End, id: number, at = 0, length = 1024) => {
  const request = new ReceiveRequest()
  request.id = id
  request.scatterList.add(local.region, at, length)
  return request
}

/** The next completions, exactly so many. */
export const completions = Effect.fnUntraced(function* (local: End, count: number) {
  const taken: Array<Completion> = []
  while (taken.length < count) {
    yield* local.completions.ready
    const batch = new CompletionBatch(Math.min(64, count - taken.length))
    const polled = local.completions.poll(batch)
    for (let index = 0; index < polled; index++) {
      const copy = new Completion()
      copy.copy(batch.at(index))
      taken.push(copy)
    }
  }
  return taken
})

/** Checks the next completion. */
export const ended = Effect.fnUntraced(function* (
  local: End,
  expected: Partial<Completion>,
  what = "completion"
) {
  const [completion] = yield* completions(local, 1)
  const found = Object.fromEntries(
    Object.keys(expected).map((key) => [key, completion![key as keyof Completion]])
  )
  yield* same(found, { ...expected }, what)
  return completion!
})

/** Checks that there are no completions. */
export const silent = (local: End, what = "further completions") =>
  Effect.suspend(() => same(local.completions.poll(new CompletionBatch()), 0, what))

/** Waits until the queue pair has failed. */
export const failed = Effect.fnUntraced(function* (local: End) {
  while (local.queuePair.state !== "err") yield* Effect.sleep("1 millis")
})

/** Distinct bytes. */
export const pattern = (length: number, seed = 1): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + seed * 17 + (index >> 8)
  return bytes
}

/** Checks bytes of a region. */
export const holds = (region: Region, at: number, bytes: Uint8Array, what: string) =>
  Effect.suspend(() => {
    const wrong = bytes.findIndex((byte, index) => byte !== region.bytes[at + index])
    return same(wrong, -1, `${what}: first byte that differs`)
  })
