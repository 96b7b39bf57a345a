/** A queue pair whose connection is a TCP stream, on the main thread. */
import * as Effect from "effect/Effect"
import type { Status } from "../verbs/Completion.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import type { GidEntry } from "../verbs/Device.ts"
import { defaults, type Step, type ToReadyToReceive } from "../verbs/QueuePairState.ts"
import type { SoftCompletionQueue } from "../verbs/software/completions.ts"
import type { Wanted } from "../verbs/provider/domain.ts"
import { SoftQueuePair } from "../verbs/software/queuePair.ts"
import { misfit, obstacle } from "../verbs/provider/transitions.ts"
import { fetches } from "../verbs/software/workQueues.ts"
import type { ModifyError } from "../verbs/VerbsError.ts"
import type { ReceiveRequest, SendRequest } from "../verbs/WorkRequest.ts"
import type { Link, LinkOwner } from "./sessionHandle.ts"
import { fetchLimit, type QueueMemory, type RowOf } from "./queueMemory.ts"
import { type Regions, rightsOf, rowFinder } from "./regions.ts"
import { streamsHere } from "./stream.ts"
import { type Binding, type Failure, recordBytes, Tag } from "./sessionProtocol.ts"

/** What a queue pair needs of its device. */
export interface Host {
  readonly regions: Regions
  /** Goes and meets the peer that the step to `rtr` named. */
  readonly meet: (queuePair: IwarpQueuePair) => void
  /** Work waits for a peer that has not been met. */
  readonly awaited: (queuePair: IwarpQueuePair) => void
  readonly fatal: (queuePair: IwarpQueuePair, detail: string) => void
  readonly gids: () => ReadonlyArray<GidEntry>
  /** Acts when no session is in the middle of anything that it began before. */
  readonly afterBarrier: (act: () => void) => void
}

/** What a queue pair is made of. */
export interface Make extends Wanted<SoftCompletionQueue> {
  readonly host: Host
  readonly number: number
  readonly memory: QueueMemory
  /** The number under which the I/O pool knows that memory. */
  readonly buffer: number
  readonly released: () => void
}

const atomicBytes = 8

/** A queue pair. */
export class IwarpQueuePair extends SoftQueuePair implements LinkOwner {
  /** Where the peer is, of a queue pair that is connected out of band. */
  path: ToReadyToReceive | undefined = undefined
  readonly #host: Host
  readonly #memory: QueueMemory
  readonly #buffer: number
  readonly #sources: RowOf
  readonly #sinks: RowOf
  readonly #completions: Pick<Make, "sends" | "receives">
  readonly #released: () => void
  #rights = 0
  #link: Link | undefined = undefined
  /** A session is still using posted work, so that it cannot end yet. */
  #isHalting = false

  constructor(make: Make) {
    super(make.number, make)
    this.#host = make.host
    this.#memory = make.memory
    this.#buffer = make.buffer
    this.#sources = rowFinder(make.domain, false)
    this.#sinks = rowFinder(make.domain, true)
    this.#completions = make
    this.#released = make.released
  }

  /** Whether a connection is there, and settled. */
  get hasPeer(): boolean {
    return this.#link?.agreed !== undefined
  }

  /** Whether a connection is there, or being made. */
  get hasLink(): boolean {
    return this.#link !== undefined
  }

  protected sendPosted(index: number, request: SendRequest): void {
    const rowOf = fetches(request.opcode) ? this.#sinks : this.#sources
    this.#memory.postSend(index, request, this.sends.at(index).bytes, rowOf)
    this.#kick()
  }

  protected receivePosted(index: number, request: ReceiveRequest): void {
    this.#memory.postReceive(index, request, this.#sinks)
  }

  modify(step: Step): Effect.Effect<void, ModifyError> {
    return Effect.suspend(() => {
      const wrong =
        obstacle(this, step.to) ?? misfit(step, { gids: this.#host.gids(), reads: this.reads })
      return wrong === undefined ? Effect.sync(() => this.#take(step)) : Effect.fail(wrong)
    })
  }

  /** Which queues a session serves from now on. */
  bind(): Binding {
    return {
      queues: this.#buffer,
      epoch: this.#memory.begin(),
      domain: this.domain,
      rights: this.#rights,
      sendAt: this.sends.ledger.ended,
      receiveAt: this.receives.ledger.ended
    }
  }

  /** Takes a connection whose peer may send as soon as it is settled. */
  attach(link: Link): void {
    this.#link = link
    link.owner = this
    if (this.state === "init") this.state = "rtr"
  }

  /** A connection came to nothing, and another one may. */
  detach(link: Link): void {
    if (this.#link !== link) return
    this.#link = undefined
    link.leave("at once")
    if (!this.#memory.stop()) this.fail("failed")
  }

  /** Gives up a connection that did not come about. */
  detachAny(): void {
    if (this.#link !== undefined && !this.hasPeer) this.detach(this.#link)
  }

  /** The connection is complete. */
  opened(): void {
    if (this.connection !== undefined && this.state === "rtr") this.state = "rts"
  }

  records(bytes: Uint8Array, from: number, to: number): void {
    const { receives, sends } = this.#completions
    sends.begin()
    receives.begin()
    this.#endBy(bytes, from, to)
    receives.end()
    sends.end()
  }

  #endBy(bytes: Uint8Array, from: number, to: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let at = from; at < to; at += recordBytes) {
      const tag = view.getUint32(at, true)
      const length = view.getUint32(at + 4, true)
      if (tag === Tag.sends) this.#endSends(length)
      else {
        const invalidated = view.getUint32(at + 12, true)
        const isImmediate = tag === Tag.receiveImmediate
        const kind = isImmediate ? "receive-immediate" : "receive"
        const completion = this.receives.end(kind, "success")
        if (completion === undefined) continue
        completion.length = length
        completion.immediate = view.getUint32(at + 8, true)
        completion.invalidated = invalidated
        if (invalidated !== 0) this.#host.regions.invalidated(invalidated)
      }
    }
  }

  failed({ detail, receive, send }: Failure): void {
    if (send !== undefined && this.outstandingSends > 0) this.sends.end(send, 0)
    else if (receive !== undefined && this.outstandingReceives > 0) {
      this.receives.end("receive", receive)
    } else this.#host.fatal(this, detail)
    this.fail("failed")
  }

  ended(error: Parameters<LinkOwner["ended"]>[0]): void {
    const isClose = error._tag === "PeerClosed"
    // The thread of a stuck worker may still run, and write.
    if (error._tag === "WorkerCrashed" && !error.isStuck) this.#memory.bury()
    if (!isClose) this.#host.fatal(this, error.message)
    this.fail(isClose ? "peer-disconnected" : "failed")
  }

  /** Posted work ends when no session uses its memory: mostly at once. */
  protected override halt(state: "err" | "reset", why: Disconnect, status?: Status): void {
    if (this.#isHalting) return
    this.#isHalting = true
    const isStopped = this.#memory.stop()
    const link = this.#link
    this.#link = undefined
    this.path = undefined
    const end = (): void => {
      this.#isHalting = false
      super.halt(state, why, status)
      link?.leave("in order")
    }
    if (isStopped) return end()
    this.#host.afterBarrier(() => {
      this.#memory.bury()
      end()
    })
  }

  #take(step: Step): void {
    switch (step.to) {
      case "init":
        this.#rights = rightsOf(step.access ?? [])
        this.#memory.fetches = fetchLimit
        this.state = "init"
        return
      case "rtr":
        this.path = step
        this.state = "rtr"
        this.#host.meet(this)
        return
      case "rts":
        this.#memory.fetches = step.outboundReads ?? defaults.outboundReads
        this.state = "rts"
        return
      case "err":
        return this.fail("disconnected")
      case "reset":
        return this.halt("reset", "disconnected")
    }
  }

  #kick(): void {
    if (!this.hasPeer) this.#host.awaited(this)
    if (this.#link === undefined || !this.#memory.kick()) return
    const here = streamsHere.get(this.#memory.memory)
    if (here === undefined) this.#link.kick()
    else here.posted()
  }

  #endSends(count: number): void {
    const sends = this.sends
    for (let left = count; left > 0 && sends.ledger.outstanding > 0; left--) {
      const { bytes, opcode } = sends.at(sends.ledger.ended)
      const length = opcode === "read" ? bytes : fetches(opcode) ? atomicBytes : 0
      sends.end("success", length)
    }
  }

  protected override released(): void {
    super.released()
    this.#released()
  }
}
