/**
 * The receiving half of a simulated queue pair: a message takes effect once, in order, and only if
 * the key, the rights, the bounds and a posted receive allow it.
 */
import type { Status } from "../verbs/Completion.ts"
import type { Access } from "../verbs/Region.ts"
import {
  type MemoryRegion,
  areUsable,
  locateAccess,
  AccessRefusal,
  type Right,
  scatter
} from "../verbs/software/memory.ts"
import type { ReceiveQueue } from "../verbs/software/workQueues.ts"
import {
  sequenceDistance,
  done,
  type Message,
  type Outcome,
  type Peer,
  sequenceAfter
} from "./message.ts"
import type { Nic } from "./nic.ts"

/** The right that each operation on memory needs. */
const rights: Partial<Record<Message["opcode"], Right>> = {
  write: "remoteWrite",
  "write-immediate": "remoteWrite",
  read: "remoteRead",
  "fetch-add": "remoteAtomic",
  "compare-swap": "remoteAtomic"
}

const accessFor: Record<Right, Access> = {
  remoteWrite: "remote-write",
  remoteRead: "remote-read",
  remoteAtomic: "remote-atomic"
}

const takesReceive = ({ opcode }: Message): boolean =>
  opcode === "send" || opcode === "send-invalidate" || opcode === "write-immediate"

/** The parameters of a responder, with all defaults filled in. */
export interface ResponderSettings {
  readonly peerSequence: number
  readonly inboundReads: number
  /** Milliseconds that a peer waits after it met no receive. */
  readonly waitMillis: number
}

/** The queue pair of a responder. */
export interface ResponderHost {
  readonly nic: Nic
  readonly domain: number
  /** Its name in traces. */
  readonly title: string
  readonly peer: Peer | undefined
  readonly access: ReadonlySet<Access>
  readonly receives: ReceiveQueue
  failFatally(detail: string): void
}

/** The receiving half. */
export class Responder {
  readonly #queuePair: ResponderHost
  readonly #receiving: ResponderSettings
  #expected: number
  /** The last results of atomic operations, which must not take effect again. */
  readonly #results = new Map<number, Uint8Array>()

  constructor(queuePair: ResponderHost, receiving: ResponderSettings) {
    this.#queuePair = queuePair
    this.#receiving = receiving
    this.#expected = receiving.peerSequence
  }

  /** Executes a message; undefined if it is not its turn. */
  receive(message: Message): Outcome | undefined {
    if (!this.#fits(message)) return undefined
    if (message.bytes > message.mtu && message.mtu < this.#queuePair.peer!.mtu) {
      return this.#refuse("remote-invalid", "packets of another size")
    }
    const distance = sequenceDistance(message.sequence, this.#expected)
    if (distance > 0) return undefined
    if (distance < 0) return this.#repeat(message)
    const outcome = this.#effect(message)
    this.#network.note(`${this.#queuePair.title}: ${message.opcode}: ${outcome._tag}`)
    if (outcome._tag === "Done") {
      this.#network.counters.delivered += 1
      this.#expected = sequenceAfter(message.sequence, 1)
    }
    return outcome
  }

  get #network() {
    return this.#queuePair.nic.network
  }

  /** Packets that are larger than the port or the queue pair takes are dropped. */
  #fits({ bytes, mtu, opcode }: Message): boolean {
    const { nic, peer } = this.#queuePair
    const packet = opcode === "read" ? 0 : Math.min(bytes, mtu)
    return packet <= this.#network.mtuOf(nic) && packet <= peer!.mtu
  }

  /** Answers a repeated message as before; only a read is executed again. */
  #repeat(message: Message): Outcome {
    const result = this.#results.get(message.sequence)
    if (result !== undefined) return { _tag: "Done", fetched: result }
    return message.opcode === "read" ? this.#memory(message) : done
  }

  #effect(message: Message): Outcome {
    if (takesReceive(message)) {
      const { receives } = this.#queuePair
      if (receives.next === undefined || this.#network.hasNoReceives(this.#queuePair.nic)) {
        this.#network.counters.rnrs += 1
        return { _tag: "NotReady", waitMillis: this.#receiving.waitMillis }
      }
    }
    switch (message.opcode) {
      case "send":
      case "send-invalidate":
        return this.#receive(message)
      case "write-immediate": {
        const outcome = this.#memory(message)
        if (outcome._tag !== "Done") return outcome
        const completion = this.#queuePair.receives.end("receive-immediate", "success")!
        completion.immediate = message.immediate
        completion.length = message.bytes
        return outcome
      }
      default:
        return this.#memory(message)
    }
  }

  #receive(message: Message): Outcome {
    const { domain, receives } = this.#queuePair
    const { scatterList } = receives.next!
    const length = message.bytes
    if (length > scatterList.byteLength) {
      receives.end("receive", "local-length")
      return this.#refuse("remote-invalid", "a message longer than the receive")
    }
    if (!areUsable(scatterList, domain, true)) {
      receives.end("receive", "local-protection")
      return this.#refuse("remote-operation", "a receive into memory that is not there")
    }
    const region = this.#invalidated(message)
    if (region === null) return this.#refuse("remote-access", "a key that cannot be made void")
    scatter(message.payload.subarray(0, length), scatterList)
    region?.revokeUnsafe()
    const completion = receives.end("receive", "success")!
    completion.length = length
    if (region !== undefined) completion.invalidated = message.invalidate
    return done
  }

  /** The region whose key a message voids; `null` if there is none but should be. */
  #invalidated({ invalidate, opcode }: Message): MemoryRegion | undefined | null {
    if (opcode !== "send-invalidate") return undefined
    const region = this.#queuePair.nic.keys.remote.find(invalidate)
    if (region === undefined) this.#network.counters.unknownKeys += 1
    return region?.domain === this.#queuePair.domain ? region : null
  }

  /** Executes an operation on memory. Without bytes it needs no key. */
  #memory(message: Message): Outcome {
    const right = rights[message.opcode]!
    const isAtomic = right === "remoteAtomic"
    if (message.bytes === 0) return done
    if (right !== "remoteWrite" && message.reads > this.#receiving.inboundReads) {
      return this.#refuse("remote-invalid", "more reads than agreed")
    }
    const region = this.#queuePair.nic.keys.remote.find(message.remoteKey)
    const at = this.#reach(region, right, message)
    if (at < 0) return this.#refuseReach(at)
    const memory = new Uint8Array(region!.memory, region!.offset + at, message.bytes)
    if (isAtomic) return this.#atomic(region!, at, message)
    if (right === "remoteRead") return { _tag: "Done", fetched: memory.slice() }
    memory.set(message.payload)
    return done
  }

  #reach(region: MemoryRegion | undefined, right: Right, message: Message): number {
    const { access, domain } = this.#queuePair
    const { bytes, remoteHigh, remoteLow } = message
    if (region !== undefined && !access.has(accessFor[right])) return AccessRefusal.noRight
    return locateAccess(region, domain, right, remoteHigh, remoteLow, bytes)
  }

  #refuseReach(refusal: number): Outcome {
    if (refusal === AccessRefusal.misaligned)
      return this.#refuse("remote-invalid", "not aligned to 8")
    if (refusal === AccessRefusal.unknownKey) this.#network.counters.unknownKeys += 1
    else this.#network.counters.refusals += 1
    return this.#refuse("remote-access", "an access that the key does not allow")
  }

  #atomic(region: MemoryRegion, at: number, message: Message): Outcome {
    const word = new BigUint64Array(region.memory, region.offset + at, 1)
    const { compare, opcode, value } = message
    const original =
      opcode === "fetch-add"
        ? Atomics.add(word, 0, value)
        : Atomics.compareExchange(word, 0, compare, value)
    const fetched = new Uint8Array(BigUint64Array.of(original).buffer)
    this.#results.set(message.sequence, fetched)
    if (this.#results.size > this.#receiving.inboundReads) {
      this.#results.delete(this.#results.keys().next().value!)
    }
    return { _tag: "Done", fetched }
  }

  /** Refuses with an answer to the peer, and fails this queue pair, too. */
  #refuse(status: Status, detail: string): Outcome {
    this.#queuePair.failFatally(detail)
    return { _tag: "Refused", status }
  }
}
