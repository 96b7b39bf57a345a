/**
 * Random traffic over a provider, and a witness who notes what was posted and how it ended.
 *
 * The client counts in the server's memory and in its own messages, so that both sides see at once
 * when something took effect twice, or not at all, or out of order.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Gid from "../../../src/schema/Gid.ts"
import {
  type Completion,
  CompletionBatch,
  type CompletionQueue
} from "../../../src/native/verbs/Completion.ts"
import type { Address, ConnectRequest } from "../../../src/native/verbs/Connection.ts"
import type { Device, ProtectionDomain } from "../../../src/native/verbs/Device.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import type { Region } from "../../../src/native/verbs/Region.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"

/** What is known outside of the processes. */
export class Witness {
  readonly wrong: Array<string> = []
  /** Messages that arrived. */
  arrived = 0
  /** Sessions that ended, with all their work accounted for. */
  accounted = 0
  address: Address | undefined = undefined
  isOver = false

  note(text: string): void {
    this.wrong.push(text)
  }
}

/** The work of one queue of one queue pair: each is posted once and ends once. */
class Book {
  readonly #open = new Map<number, boolean>()
  readonly #witness: Witness
  readonly #name: string
  #last = -1

  constructor(witness: Witness, name: string) {
    this.#witness = witness
    this.#name = name
  }

  posted(id: number, signalled: boolean): void {
    this.#open.set(id, signalled)
  }

  ended({ id, status }: Completion): void {
    if (!this.#open.has(id)) this.#witness.note(`${this.#name}: ${id} ended, but was not open`)
    if (id <= this.#last) this.#witness.note(`${this.#name}: ${id} ended after ${this.#last}`)
    for (const [earlier, signalled] of this.#open) {
      if (earlier >= id) continue
      // Silence means success, so nothing may be silent once there was a failure.
      if (signalled) this.#witness.note(`${this.#name}: ${earlier} ended in silence`)
      this.#open.delete(earlier)
    }
    this.#open.delete(id)
    this.#last = id
    if (status === "fatal") this.#witness.note(`${this.#name}: ${id} ended with ${status}`)
  }

  /** Nothing is open any more but what ended well in silence. */
  close(): void {
    for (const [id, signalled] of this.#open) {
      if (signalled) this.#witness.note(`${this.#name}: ${id} never ended`)
    }
  }
}

/** What lies where in a region. */
const place = {
  results: 1024,
  messages: 2048,
  receives: 4096,
  target: 6144,
  counter: 7168
} as const

interface Side {
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  readonly region: Region
}

const sideOf = Effect.fnUntraced(function* (device: Device) {
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(48)
  const access = ["local-write", "remote-write", "remote-read", "remote-atomic"] as const
  const region = yield* domain.register({ memory: 8192, access })
  return { device, domain, completions, region }
})

const queuePairOf = Effect.fnUntraced(function* ({ completions, domain }: Side) {
  const queuePair = yield* domain.queuePair({
    sendCompletions: completions,
    sendDepth: yield* Random.nextIntBetween(4, 12),
    receiveDepth: yield* Random.nextIntBetween(4, 12)
  })
  const access = ["remote-write", "remote-read", "remote-atomic"] as const
  yield* queuePair.modify({ to: "init", access })
  return queuePair
})

/** Keeps receives posted and reads completions, until the queue pair is gone and all has ended. */
class Session {
  readonly sends: Book
  readonly receives: Book
  readonly #batch = new CompletionBatch(5)
  readonly #receive = new ReceiveRequest()
  readonly #witness: Witness
  readonly #side: Side
  readonly #name: string
  #ids = 0
  /** What the next message must say. */
  #expected = 0
  /** What the next addition must find. */
  #found = 0n

  constructor(witness: Witness, side: Side, name: string) {
    this.#witness = witness
    this.#side = side
    this.#name = name
    this.sends = new Book(witness, `${name}, sends`)
    this.receives = new Book(witness, `${name}, receives`)
  }

  /** Posts receives while there is room; each goes to a place of its own. */
  fill(queuePair: QueuePair): void {
    for (;;) {
      const id = this.#ids
      this.#receive.id = id
      this.#receive.scatterList.clear().add(this.#side.region, place.receives + 16 * (id % 64), 16)
      if (queuePair.outstandingReceives >= 6) return
      if (queuePair.postReceive(this.#receive) !== "accepted") return
      this.#ids += 1
      this.receives.posted(id, true)
    }
  }

  poll(): number {
    const count = this.#side.completions.poll(this.#batch)
    for (let index = 0; index < count; index++) this.#ended(this.#batch.at(index))
    return count
  }

  #ended(completion: Completion): void {
    const { id, kind, status } = completion
    const { memory, offset } = this.#side.region
    if (kind === "receive") {
      this.receives.ended(completion)
      if (status !== "success") return
      this.#witness.arrived += 1
      const said = new Uint32Array(memory, offset + place.receives + 16 * (id % 64), 1)[0]!
      if (said !== this.#expected) {
        this.#witness.note(`${this.#name}: message ${said} instead of ${this.#expected}`)
      }
      this.#expected = said + 1
      return
    }
    this.sends.ended(completion)
    if (kind !== "fetch-add" || status !== "success") return
    const found = new BigUint64Array(memory, offset + place.results + 8 * (id % 32), 1)[0]!
    if (found !== this.#found) {
      this.#witness.note(`${this.#name}: an addition found ${found} instead of ${this.#found}`)
    }
    this.#found = found + 1n
  }

  /** The queue pair is gone: everything that was posted has ended. */
  close(): void {
    while (this.poll() > 0);
    this.sends.close()
    this.receives.close()
    const { reserved } = this.#side.completions
    if (reserved !== 0) this.#witness.note(`${this.#name}: ${reserved} places are still reserved`)
    else this.#witness.accounted += 1
  }
}

/** Where the client counts in the server's memory: told with the accept. */
const tell = ({ region: { address, remoteKey } }: Side): Uint8Array => {
  const told = new DataView(new ArrayBuffer(12))
  told.setUint32(0, remoteKey)
  told.setFloat64(4, address)
  return new Uint8Array(told.buffer)
}

/** Fills a random request; counts what must be counted. */
class Maker {
  readonly request = new SendRequest()
  readonly #region: Region
  readonly #key: number
  readonly #address: number
  #id = 0
  #said = 0

  constructor(region: Region, told: Uint8Array) {
    const view = new DataView(told.buffer, told.byteOffset, told.byteLength)
    this.#region = region
    this.#key = view.getUint32(0)
    this.#address = view.getFloat64(4)
  }

  /** Sends, writes, reads or adds. */
  next(choice: number): SendRequest {
    const { request } = this
    const id = this.#id
    request.id = id
    request.signalled = choice % 4 !== 0
    request.inline = false
    request.scatterList.clear()
    if (choice < 50) {
      request.opcode = "send"
      request.inline = choice < 25
      const at = place.messages + 4 * (id % 256)
      new Uint32Array(this.#region.memory, this.#region.offset + at, 1)[0] = this.#said
      request.scatterList.add(this.#region, at, 4)
      return request
    }
    request.opcode = choice < 70 ? "write" : choice < 85 ? "read" : "fetch-add"
    if (request.opcode === "fetch-add") request.signalled = true
    const [from, length] =
      request.opcode === "fetch-add" ? [place.results + 8 * (id % 32), 8] : [0, 1000]
    request.value = 1n
    request.scatterList.add(this.#region, from, length)
    return request.remote(this.#key, this.#address + (length === 8 ? place.counter : place.target))
  }

  accepted(): void {
    this.#id += 1
    if (this.request.opcode === "send") this.#said += 1
  }
}

/** Posts some random work. */
const postSome = Effect.fnUntraced(function* (
  queuePair: QueuePair,
  maker: Maker,
  session: Session
) {
  const posts = yield* Random.nextIntBetween(1, 12)
  for (let count = 0; count < posts; count++) {
    const request = maker.next(yield* Random.nextIntBetween(0, 100))
    const { id, signalled } = request
    if (queuePair.post(request) !== "accepted") break
    maker.accepted()
    session.sends.posted(id, signalled)
  }
})

/** What a client does with a connection: posts, waits, polls, and at last leaves in some way. */
const useIt = Effect.fnUntraced(function* (
  own: Side,
  session: Session,
  witness: Witness,
  to: Address
) {
  const queuePair = yield* queuePairOf(own)
  new BigUint64Array(own.region.memory, own.region.offset + place.counter, 1)[0] = 0n
  session.fill(queuePair)
  const connection = yield* own.device.connect({
    to,
    queuePair,
    privateData: tell(own),
    retries: 2,
    rnrRetries: yield* Random.nextIntBetween(0, 7)
  })
  const maker = new Maker(own.region, connection.privateData)
  const rounds = yield* Random.nextIntBetween(1, 12)
  for (let round = 0; round < rounds && !witness.isOver; round++) {
    yield* postSome(queuePair, maker, session)
    if (yield* Random.nextBoolean) yield* Effect.sleep(yield* Random.nextIntBetween(0, 20))
    session.poll()
    if (yield* Random.nextBoolean) session.fill(queuePair)
    if (queuePair.state === "err") break
  }
  const leave = yield* Random.nextIntBetween(0, 4)
  if (leave === 0) yield* connection.disconnect
  if (leave === 1) yield* queuePair.modify({ to: "err" })
  if (leave === 2) yield* queuePair.modify({ to: "reset" })
})

/** Something in a Scope, and then the account of it. */
const accounted = <A, E, R>(session: Session, use: Effect.Effect<A, E, R>) =>
  Effect.scoped(use as Effect.Effect<A, E, R | Scope.Scope>).pipe(
    Effect.ensuring(Effect.sync(() => session.close()))
  )

/** Connects to the server again and again. */
export const client = Effect.fnUntraced(function* (witness: Witness) {
  while (!witness.isOver) {
    yield* Effect.gen(function* () {
      const verbs = yield* Verbs
      const own = yield* sideOf(yield* verbs.open())
      for (let count = 0; count < 3 && !witness.isOver; count++) {
        const session = new Session(witness, own, "client")
        if (witness.address === undefined) break
        yield* accounted(session, useIt(own, session, witness, witness.address))
      }
    }).pipe(
      Effect.scoped,
      Effect.catch(() => Effect.sleep(50))
    )
    yield* Effect.sleep(5)
  }
})

/** Serves one connection until it ends. */
const serve = Effect.fnUntraced(function* (
  witness: Witness,
  device: Device,
  request: ConnectRequest
) {
  const own = yield* sideOf(device)
  const session = new Session(witness, own, "server")
  const serving = Effect.gen(function* () {
    const queuePair = yield* queuePairOf(own)
    session.fill(queuePair)
    const connection = yield* request.accept({
      queuePair,
      privateData: tell(own),
      rnrRetries: yield* Random.nextIntBetween(0, 7)
    })
    const maker = new Maker(own.region, request.privateData)
    const ended = yield* Effect.forkScoped(connection.disconnected)
    while (ended.pollUnsafe() === undefined && !witness.isOver) {
      yield* postSome(queuePair, maker, session)
      session.poll()
      session.fill(queuePair)
      yield* Effect.timeoutOption(
        Effect.raceFirst(own.completions.ready, Fiber.await(ended)),
        "500 millis"
      )
    }
  })
  yield* accounted(session, serving)
})

/** Listens, and serves whoever comes. */
export const server = Effect.fnUntraced(function* (witness: Witness) {
  while (!witness.isOver) {
    yield* Effect.gen(function* () {
      const verbs = yield* Verbs
      const device = yield* verbs.open()
      const listener = yield* device.listen({ backlog: 4 })
      witness.address = listener.address
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
      while (!witness.isOver) {
        const took = yield* Effect.timeoutOption(listener.take, 200)
        // A listener stays where its port was when the GID changed; the client must learn of it.
        witness.address = yield* here(device, listener.address)
        if (took._tag === "None") continue
        const serving = serve(witness, device, took.value)
        yield* serving.pipe(Effect.scoped, Effect.ignore, Effect.forkIn(scope))
      }
    }).pipe(
      Effect.scoped,
      Effect.catch(() => Effect.sleep(50))
    )
  }
})

const here = (device: Device, { port }: Address) =>
  Effect.map(device.port(), ({ gids }) => ({ host: Gid.toAddress(gids[0]!.gid), port }))
