/**
 * An iWARP peer over node:net that can do just what a conversation with a real one needs: connect,
 * listen, accept or reject, register memory, send, receive, write and read.
 *
 * It has a receive ready for whatever comes, and keeps the gate: a responder sends nothing before
 * the initiator's first FPDU.
 *
 * Linux's siw (6.1) starts to listen on a stream only after it has sent its reply: what comes in
 * between stays unread until more comes, and when the stream ends before that, its kernel stops at
 * a BUG. So an initiator nudges with empty Writes until it hears from the other side.
 */
import { randomInt } from "node:crypto"
import * as net from "node:net"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Crc32c from "../../src/schema/iwarp/Crc32c.ts"
import type { StartupFault, StreamFault } from "../../src/schema/iwarp/Fault.ts"
import { FpduWriter, Outgoing } from "../../src/schema/iwarp/FpduWriter.ts"
import { Delivery } from "../../src/schema/iwarp/Inbound.ts"
import * as Mpa from "../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../src/schema/iwarp/Negotiation.ts"
import {
  readReadRequest,
  readRequestBytes,
  writeReadRequest
} from "../../src/schema/iwarp/RdmapHeader.ts"
import { Opcode, Queue as Untagged } from "../../src/schema/iwarp/Segment.ts"
import * as Terminate from "../../src/schema/iwarp/Terminate.ts"
import { Receiver } from "../iwarp/receiver.ts"

/** Memory of the other side. */
export interface Remote {
  readonly stag: number
  readonly address: bigint
  readonly length: number
}

/** Memory of this side, and its name for the other one. */
export interface Registered extends Remote {
  readonly bytes: Uint8Array
}

/** There is no connection. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly why: Negotiation.Declined | StartupFault | { readonly _tag: "Closed" }
}> {}

/** The connection is over; `terminate` is what the other side said of it. */
export class Ended extends Data.TaggedError("Ended")<{
  readonly terminate?: Terminate.Terminate | undefined
  readonly fault?: StreamFault | undefined
}> {}

export interface Connection {
  /** What came with the other side's request or reply. */
  readonly privateData: Uint8Array
  readonly crc: boolean
  /** Memory that the other side may read and write. */
  readonly register: (bytes: number) => Registered
  readonly send: (message: Uint8Array) => Effect.Effect<void>
  /** The next message of the other side. */
  readonly receive: Effect.Effect<Uint8Array, Ended>
  readonly write: (from: Uint8Array, to: Remote) => Effect.Effect<void>
  readonly read: (into: Registered, from: Remote) => Effect.Effect<void, Ended>
  readonly close: Effect.Effect<void>
  /** Spoils the next message on its way out, so that its checksum is wrong. */
  readonly spoil: () => void
}

const crc32c = Crc32c.make()
const nudgeMillis = 100
const nothing = new Uint8Array(0)
const receives = { count: 1000, bytes: 65536 }

/** A connection in full operation. */
class Stream implements Connection {
  readonly privateData: Uint8Array
  readonly crc: boolean
  readonly receive: Effect.Effect<Uint8Array, Ended>
  readonly close: Effect.Effect<void>
  readonly #socket: net.Socket
  readonly #receiver: Receiver
  readonly #writer: FpduWriter
  readonly #gate: Latch.Latch
  readonly #sequence = new Uint32Array(2)
  readonly #messages = Effect.runSync(Queue.unbounded<Uint8Array, Ended>())
  readonly #reads = Effect.runSync(Queue.unbounded<void, Ended>())
  #nudging: NodeJS.Timeout | undefined
  #spoiled = false
  /** The response to the signal is still to come; nobody waits for it. */
  #signalled = false

  constructor(socket: net.Socket, settled: Negotiation.Settled, initiator: boolean) {
    this.#socket = socket
    this.privateData = settled.privateData
    this.crc = settled.crc
    this.receive = Queue.take(this.#messages)
    this.close = Effect.sync(() => socket.end())
    const crc = settled.crc ? crc32c : undefined
    this.#writer = new FpduWriter({ crc })
    this.#receiver = new Receiver(crc, settled)
    for (let k = 0; k < receives.count; k++) this.#receiver.posted.push(receives.bytes)
    this.#receiver.onSegment = (delivery, control) => this.#take(delivery, control)
    this.#gate = Latch.makeUnsafe(initiator)
    socket.once("close", () => this.#end(new Ended({})))
    if (!initiator) return
    this.#signal(settled.ready)
    this.#nudging = setInterval(() => this.#tagged(Opcode.write, 1, 0n, nothing), nudgeMillis)
  }

  push(chunk: Uint8Array): void {
    this.#receiver.push(chunk)
    const { fault } = this.#receiver
    if (fault !== undefined) this.#end(new Ended({ fault }))
  }

  register(length: number): Registered {
    const [stag, base] = [randomInt(1, 2 ** 32), randomInt(2 ** 48 - 1)]
    const { bytes } = this.#receiver.register(stag, base, length)
    return { bytes, stag, address: BigInt(base), length }
  }

  send(message: Uint8Array): Effect.Effect<void> {
    return this.#when(() => this.#untagged(Opcode.send, Untagged.send, message))
  }

  write(from: Uint8Array, to: Remote): Effect.Effect<void> {
    return this.#when(() => this.#tagged(Opcode.write, to.stag, to.address, from))
  }

  read(into: Registered, from: Remote): Effect.Effect<void, Ended> {
    return this.#when(() => this.#request(into, from)).pipe(Effect.andThen(Queue.take(this.#reads)))
  }

  spoil(): void {
    this.#spoiled = true
  }

  #when(put: () => void): Effect.Effect<void> {
    return Effect.andThen(this.#gate.await, Effect.sync(put))
  }

  /** Opens the other side's gate, if that does not take a message. */
  #signal(ready: Negotiation.Ready): void {
    const nowhere = { stag: 1, address: 0n, length: 0 }
    if (ready === "write") this.#tagged(Opcode.write, 1, 0n, nothing)
    this.#signalled = ready === "read"
    if (this.#signalled) this.#request(nowhere, nowhere)
  }

  #request(into: Remote, from: Remote): void {
    const { stag } = into
    const [high, low] = wordsOf(into.address)
    const region = this.#receiver.regions.get(stag)
    this.#receiver.inbound.outstanding.read(stag, high, low, into.length, region, 0)
    const header = new Uint8Array(readRequestBytes)
    writeReadRequest(new DataView(header.buffer), 0, {
      sinkStag: stag,
      sinkOffset: into.address,
      length: into.length,
      sourceStag: from.stag,
      sourceOffset: from.address
    })
    this.#untagged(Opcode.readRequest, Untagged.request, header)
  }

  #tagged(opcode: number, stag: number, address: bigint, payload: Uint8Array): void {
    const [offsetHigh, offsetLow] = wordsOf(address)
    this.#put({ opcode, tagged: true, stag, offsetHigh, offsetLow, payload: [payload] })
  }

  #untagged(opcode: number, queue: 0 | 1, payload: Uint8Array): void {
    this.#sequence[queue]! += 1
    this.#put({ opcode, queue, sequence: this.#sequence[queue]!, payload: [payload] })
  }

  #put(fields: Partial<Outgoing>): void {
    const message = Object.assign(new Outgoing(), fields)
    for (let done = false; !done;) {
      done = this.#writer.put(message)
      const octets = Buffer.concat(this.#writer.take()!.parts)
      if (this.#spoiled) octets[octets.length - 1]! ^= 1
      this.#spoiled = false
      this.#socket.write(octets)
    }
  }

  #take(delivery: number, control: Uint8Array): void {
    this.#gate.openUnsafe()
    clearInterval(this.#nudging)
    const { inbound, receive } = this.#receiver
    if (delivery === Delivery.receive) {
      Queue.offerUnsafe(this.#messages, receive.subarray(0, inbound.received))
    } else if (delivery === Delivery.readDone) {
      if (!this.#signalled) Queue.offerUnsafe(this.#reads, undefined)
      this.#signalled = false
    } else if (delivery === Delivery.readRequest) {
      const { length, sinkOffset, sinkStag } = readReadRequest(
        new DataView(control.buffer, control.byteOffset),
        0
      )
      const source = inbound.region?.bytes.subarray(inbound.at, inbound.at + length)
      this.#tagged(Opcode.readResponse, sinkStag, sinkOffset, source ?? nothing)
      inbound.answered()
    } else if (delivery === Delivery.terminate) {
      this.#end(new Ended({ terminate: Terminate.decode(control) }))
    }
  }

  #end(ended: Ended): void {
    clearInterval(this.#nudging)
    Effect.runSync(Effect.all([Queue.fail(this.#messages, ended), Queue.fail(this.#reads, ended)]))
    this.#socket.end()
  }
}

const wordsOf = (address: bigint): readonly [number, number] => [
  Number(address >> 32n),
  Number(address & 0xffff_ffffn)
]

/** Waits for the other side's frame; `judge` answers it at once and says what then holds. */
const startUp = (
  socket: net.Socket,
  kind: Mpa.MpaFrame["kind"],
  judge: (frame: Mpa.MpaFrame) => Negotiation.Settled | Negotiation.Declined
) =>
  Effect.callback<Connection, Refused>((resume) => {
    const reader = new Mpa.MpaReader(kind)
    const refuse = (why: Refused["why"]) => resume(Effect.fail(new Refused({ why })))
    let stream: Stream | undefined
    socket.on("data", (chunk) => {
      if (stream !== undefined) return stream.push(chunk)
      const at = reader.push(chunk, 0, chunk.length)
      if (reader.fault !== undefined) return refuse(reader.fault)
      if (reader.frame === undefined) return
      const outcome = judge(reader.frame)
      if (outcome._tag !== "Settled") return refuse(outcome)
      stream = new Stream(socket, outcome, kind === "reply")
      // A responder may speak right behind its reply.
      stream.push(chunk.subarray(at))
      resume(Effect.succeed(stream))
    })
    socket.once("close", () => refuse({ _tag: "Closed" }))
  })

export interface Wishes {
  readonly crc?: boolean
  readonly ird?: number
  readonly ord?: number
  readonly privateData?: Uint8Array
}

const defaults = { crc: true, ird: 8, ord: 8, privateData: nothing }

export interface ConnectOptions extends Wishes {
  readonly port: number
  readonly revision?: 1 | 2
  /** The signal to offer; `message` offers none. Default `write`. */
  readonly ready?: "message" | "write" | "read"
}

const dial = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
      socket.once("connect", () => resume(Effect.succeed(socket)))
      // What is wrong with a connection shows in its end.
      socket.on("error", (error) => resume(Effect.die(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Connects as the initiator. */
export const connect = Effect.fnUntraced(function* (options: ConnectOptions) {
  const wishes = { revision: 2 as const, ready: "write", ...defaults, ...options }
  const request = Negotiation.request({ ...wishes, peerToPeer: wishes.ready !== "message" })
  const frame: Mpa.MpaFrame = {
    ...request,
    enhanced: request.enhanced && {
      ...request.enhanced,
      readyByWrite: wishes.ready === "write",
      readyByRead: wishes.ready === "read"
    }
  }
  const socket = yield* dial(options.port)
  socket.write(Mpa.encode(frame))
  return yield* startUp(socket, "reply", (reply) => Negotiation.settle(frame, reply, wishes))
})

export interface ListenOptions extends Wishes {
  /** Rejects whoever comes, with these private data. */
  readonly reject?: Uint8Array
}

/** Somewhere to connect to; `accept` gives who came. */
export interface Listener {
  readonly port: number
  readonly accept: Effect.Effect<Connection, Refused>
}

/** Listens on a free port of loopback, as the responder. */
export const listen = Effect.fnUntraced(function* (
  options: ListenOptions = {}
): Effect.fn.Return<Listener, never, Scope.Scope> {
  const wishes = { ...defaults, ...options }
  const arrived = yield* Queue.unbounded<net.Socket>()
  const all: Array<net.Socket> = []
  const server = yield* Effect.acquireRelease(
    Effect.callback<net.Server>((resume) => {
      const server = net.createServer({ noDelay: true }, (socket) => {
        // What is wrong with a connection shows in its end.
        socket.on("error", () => {})
        all.push(socket)
        Queue.offerUnsafe(arrived, socket)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        for (const socket of all) socket.destroy()
      })
  )
  const answer = (socket: net.Socket) => (request: Mpa.MpaFrame) => {
    const { outcome, reply } =
      options.reject === undefined
        ? Negotiation.respond(request, wishes)
        : {
            outcome: { _tag: "Rejected", privateData: request.privateData } as const,
            reply: Negotiation.reject(request, options.reject)
          }
    socket.write(Mpa.encode(reply))
    if (outcome._tag !== "Settled") socket.end()
    return outcome
  }
  return {
    port: (server.address() as net.AddressInfo).port,
    accept: Effect.flatMap(Queue.take(arrived), (socket) =>
      startUp(socket, "request", answer(socket))
    )
  }
})
