/**
 * A connection in full operation, in the thread of its socket: places and answers received
 * messages, sends posted work, and reports completions.
 *
 * All of it runs within a guard: the main thread revokes the queues by changing their epoch, and
 * then this connection touches neither them nor the memory of their work.
 */
import type { Batch } from "../../schema/iwarp/FpduWriter.ts"
import type { Crc32c } from "../../schema/iwarp/Crc32c.ts"
import type { Settled } from "../../schema/iwarp/Negotiation.ts"
import * as Terminate from "../../schema/iwarp/Terminate.ts"
import type { Status } from "../verbs/Completion.ts"
import type { FramerPort } from "../io/Framer.ts"
import { PendingResponse } from "./responder.ts"
import { Receiver } from "./receive.ts"
import { Transmitter } from "./transmit.ts"
import { QueueMemory } from "./queueMemory.ts"
import type { RegionTable } from "./regionTable.ts"
import { type TaggedBuffer, BufferTable } from "./placement.ts"
import { type Binding, type Failure, Records, Tag } from "./sessionProtocol.ts"
import { Requester } from "./requester.ts"

/** The parts of a stream. */
export interface StreamOptions {
  readonly port: FramerPort
  readonly table: RegionTable
  readonly bind: Binding
  readonly settled: Settled
  readonly crc: Crc32c | undefined
  readonly maximumUlpdu: number | undefined
  /** Milliseconds that a peer may take no bytes, or owe an answer. */
  readonly answerWithinMs: number
}

const { Cause } = Terminate

/** Number of nudges of a silent peer, and the milliseconds between them. */
const nudgesMax = 10
const nudgeEveryMs = 100

/** The status of the oldest work, from the peer's Terminate. */
const statusOf = (cause: Pick<Terminate.Cause, "layer" | "type" | "code">): Status => {
  const is = (known: Terminate.Cause): boolean =>
    known.layer === cause.layer && known.type === cause.type && known.code === cause.code
  if (is(Cause.noBuffer)) return "rnr-retry-exceeded"
  if (is(Cause.tooLong)) return "remote-invalid"
  if (cause.layer < 2 && cause.type === 1) return "remote-access"
  return cause.layer < 2 && cause.type === 2 ? "remote-invalid" : "remote-operation"
}

/** Streams of this thread, by the memory of their queues: they need no message. */
export const streamsHere = new WeakMap<SharedArrayBuffer, Stream>()

/** The stream of FPDUs on one connection. */
export class Stream {
  readonly #port: FramerPort
  readonly #queues: QueueMemory
  readonly #epoch: number
  readonly #records: Records
  readonly #requester: Requester
  readonly #receiver: Receiver
  readonly #transmitter: Transmitter
  readonly #crc: Crc32c | undefined
  readonly #answerWithinMs: number
  #timer: NodeJS.Timeout | undefined
  /** Counts received signs that the peer is alive. */
  #signs = 0
  #hasHeard = false
  /** Remaining nudges of the peer. */
  #nudges = 0
  #isOver = false
  #failure: Failure | undefined

  constructor(options: StreamOptions) {
    const { bind, crc, port, settled, table } = options
    const memory = new BufferTable(table, port.region, bind.domain, bind.rights)
    this.#port = port
    this.#crc = crc
    this.#answerWithinMs = options.answerWithinMs
    this.#records = new Records(port.deliver)
    // Queues are always shared memory: the main thread registered them.
    this.#queues = new QueueMemory(port.region(bind.queues)!.buffer as SharedArrayBuffer)
    this.#epoch = bind.epoch
    streamsHere.set(this.#queues.memory, this)
    // Sends earlier work at the first opportunity, and asks for notice of new work.
    this.#queues.clearKick()
    this.#receiver = new Receiver(this.#inputPort(), this.#queues, memory, {
      domain: bind.domain,
      ird: settled.ird,
      ord: settled.ord,
      receiveAt: bind.receiveAt,
      crc
    })
    this.#requester = new Requester(
      this.#queues,
      memory,
      this.#receiver.inbound.outstanding,
      bind.sendAt,
      settled.ord
    )
    this.#transmitter = new Transmitter(
      this.#outputPort(),
      this.#requester,
      crc,
      options.maximumUlpdu
    )
  }

  /** Begins as the initiator: sends first, with a signal if that was agreed. */
  begin(ready: Settled["ready"]): void {
    this.#nudges = nudgesMax
    this.#run(() => {
      if (ready === "write" || ready === "read") this.#transmitter.openWith(ready)
      else this.#transmitter.open()
      this.#transmitter.pump()
    })
  }

  /**
   * Linux's siw begins to read a stream after it has sent its reply, and leaves earlier bytes
   * unread until more come. So the first bytes of this side, and all that it sends until the peer
   * has sent something, are followed by empty writes.
   */
  #nudge(): void {
    if (this.#nudges === 0) return
    this.#nudges -= 1
    const timer = setTimeout(() => {
      if (this.#hasHeard || this.#isOver) return
      this.#run(() => this.#transmitter.nudge())
      this.#nudge()
    }, nudgeEveryMs)
    timer.unref()
  }

  /** The buffer for the next read: memory that the checksum reads in place. */
  get staging(): Uint8Array | undefined {
    return this.#crc?.staging
  }

  push(chunk: Uint8Array, from: number, to: number): void {
    this.#signs += 1
    this.#run(() => {
      this.#receiver.push(chunk, from, to)
      this.#transmitter.pump()
      this.#endWork()
    })
  }

  /** Handles a notice of new work. */
  readonly kick = (): void => {
    this.#run(() => {
      this.#queues.clearKick()
      this.#transmitter.pump()
    })
  }

  /**
   * Handles new work, on the thread of the session. Work that is posted to an idle connection
   * leaves at once, so that a lone message does not wait. Its bytes count as waiting until the turn
   * is over, so all further work of this turn goes out together.
   */
  posted(): void {
    if (this.#transmitter.isWaiting) process.nextTick(this.kick)
    else this.kick()
  }

  /** Handles the peer's last byte. */
  end(): void {
    if (!this.#receiver.isInside) return
    this.#run(() => this.#fail({ detail: "the stream ended within an FPDU" }, undefined))
  }

  /** Runs `act` while the queues may be used, and reports to the main thread after that. */
  #run(act: () => void): void {
    if (this.#isOver) return
    if (!this.#queues.acquire(this.#epoch)) {
      this.#stop()
      return
    }
    try {
      act()
    } finally {
      this.#queues.release()
    }
    if (this.#failure === undefined) {
      this.#startAnswerTimer()
      this.#records.flush()
    } else {
      this.#stop()
      this.#reportEnds()
      this.#records.addEvent({ say: "failed", ...this.#failure })
      this.#records.flush()
      this.#port.refuse(this.#failure.detail)
    }
  }

  #stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  #fail(failure: Failure, terminate: Uint8Array | undefined): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#receiver.end()
    this.#transmitter.end(terminate)
  }

  /**
   * Reports how much work at the head of the queue has ended. Waking the main thread costs as much
   * as writing 100 KiB, so ends without a completion wait while there is more to write.
   */
  #endWork(): void {
    this.#requester.end(this.#transmitter.left)
    if (this.#requester.hasSignalled || !this.#transmitter.isWaiting) this.#reportEnds()
  }

  #reportEnds(): void {
    if (this.#requester.unreported > 0)
      this.#records.add(Tag.sends, this.#requester.takeUnreported(), 0, 0)
  }

  /** Ends the connection when the peer takes nothing, or answers nothing, for too long. */
  #startAnswerTimer(): void {
    if (this.#timer !== undefined || !(this.#transmitter.isWaiting || this.#requester.isWaiting))
      return
    const seen = this.#signs
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const isDead =
        seen === this.#signs && (this.#transmitter.isWaiting || this.#requester.isWaiting)
      this.#run(() => {
        if (!isDead) return
        const detail = `no sign of the peer within ${this.#answerWithinMs} ms`
        this.#fail({ detail, send: "retry-exceeded" }, undefined)
      })
    }, this.#answerWithinMs)
    this.#timer.unref()
  }

  #outputPort(): ConstructorParameters<typeof Transmitter>[0] {
    return {
      write: this.#port.writeNow,
      writeLast: this.#port.write,
      written: (batch: Batch, number: number) => {
        this.#signs += 1
        if (number === 1) this.#nudge()
        this.#run(() => {
          this.#transmitter.wrote(batch, number)
          this.#transmitter.pump()
          this.#endWork()
        })
      },
      unsendable: ({ status }) => {
        const detail = `posted work could not be sent: ${status}`
        this.#fail({ detail, send: status }, Terminate.encode(Cause.rdmapLocal))
      },
      answered: () => this.#receiver.inbound.answered(),
      withdrawn: () => {
        const detail = "the peer read memory that was taken back meanwhile"
        this.#fail({ detail }, Terminate.encode(Cause.invalidStag))
      }
    }
  }

  #inputPort(): ConstructorParameters<typeof Receiver>[0] {
    const local = (detail: string, ends: Omit<Failure, "detail">): void =>
      this.#fail({ detail, ...ends }, Terminate.encode(Cause.rdmapLocal))
    return {
      fpduVerified: () => {
        this.#hasHeard = true
        if (this.#transmitter.isOpen) return
        this.#transmitter.open()
        this.#records.addEvent({ say: "open" })
      },
      received: (length, immediate, invalidated) => {
        const tag = immediate === undefined ? Tag.receive : Tag.receiveImmediate
        this.#records.add(tag, length, immediate ?? 0, invalidated)
      },
      readRequest: (request, sink, at) =>
        this.#transmitter.respond(PendingResponse.toRead(request, sink, at)),
      atomicRequest: (request: Uint8Array, sink: TaggedBuffer, at: number) =>
        this.#transmitter.respond(PendingResponse.toAtomic(request, sink, at)),
      readDone: () => this.#requester.answered(),
      atomicDone: (response) => {
        if (this.#requester.answeredAtomic(response)) return
        local("the memory of an atomic operation has gone", { send: "local-protection" })
      },
      terminated: (terminate) => {
        const cause =
          terminate && Terminate.causeOf(terminate.layer, terminate.type, terminate.code)
        const detail = `the peer terminated: ${cause?.name ?? "for an unknown reason"}`
        const send = terminate === undefined ? "remote-operation" : statusOf(terminate)
        this.#fail({ detail, send }, undefined)
      },
      refused: (fault, answer) => {
        const { code, layer, type } = Terminate.answerTo(fault)
        const cause = Terminate.causeOf(layer, type, code)
        const detail = `refused what the peer sent: ${cause?.name ?? fault._tag}`
        const isTooLong = cause === Cause.tooLong
        this.#fail({ detail, receive: isTooLong ? "local-length" : undefined }, answer)
      },
      lost: (isReceive) =>
        local("memory that a message was for has gone", {
          [isReceive ? "receive" : "send"]: "local-protection" as const
        })
    }
  }
}
