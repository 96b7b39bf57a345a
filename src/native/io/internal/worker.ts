/**
 * The I/O worker: a thread without Effect that holds its sockets completely.
 *
 * Jobs that open something come through its message port, because they carry objects and are rare;
 * jobs on an open lane come through the inbox ring. Everything goes back through the outbox ring.
 * It stops on request: sockets are closed in order, the last records are flushed, and then the
 * thread ends itself.
 */
import { parentPort, workerData } from "node:worker_threads"
import { copyOf } from "../../../schema/copyBytes.ts"
import { Doorbell } from "./doorbell.ts"
import { countGarbage } from "./buffers.ts"
import type { SocketLane } from "./socketLane.ts"
import { encodeReason, type OpenJob } from "./messages.ts"
import { LaneSlots } from "./laneSlots.ts"
import { OutboxWriter } from "./outboxWriter.ts"
import { countIn, madeProgress } from "./progress.ts"
import {
  CloseRecord,
  Header,
  In,
  Out,
  Row,
  textFrom,
  textTo,
  type WorkerMemory
} from "./records.ts"
import { RingConsumer, RingProducer } from "./ring.ts"
import { type ChunkPoolShape, mapChunkPool, ChunkWriter } from "./chunkPool.ts"
import { nodePlatform } from "./nodePlatform.ts"
import { SocketHost } from "./socketHost.ts"
import type { TlsSettings } from "./tls.ts"

/** The start parameters of a worker. */
export interface WorkerStart {
  readonly memory: WorkerMemory
  readonly chunkPoolShape: ChunkPoolShape
  /** Milliseconds since 1970 from which `Row.lastReceivedAt` counts. */
  readonly origin: number
  readonly regions: ReadonlyArray<readonly [number, SharedArrayBuffer]>
}

/** Messages to a worker, through its port. */
export type WorkerMessage =
  | { readonly kind: "open"; readonly job: number; readonly open: OpenJob }
  | { readonly kind: "cancel"; readonly job: number }
  | { readonly kind: "renew"; readonly job: number; readonly tls: TlsSettings }
  | { readonly kind: "region"; readonly id: number; readonly memory: SharedArrayBuffer | undefined }
  | { readonly kind: "stop" }

const start = workerData as WorkerStart
const { memory, origin } = start
const port = parentPort
if (port === null) throw new Error("this module runs in a worker")
countIn(memory.progress)

const mainBell = new Doorbell(new Int32Array(memory.mainBell))
const workerBell = new Doorbell(new Int32Array(memory.workerBell))
const inbox = new RingConsumer(new Int32Array(memory.inbox))
const table = new Int32Array(memory.table)
const regions = new Map(start.regions.map(([id, buffer]) => [id, new Uint8Array(buffer)]))
const chunks = new ChunkWriter(mapChunkPool(memory.chunkPool, start.chunkPoolShape))
const outbox = new RingProducer(new Int32Array(memory.outbox))
const output = new OutboxWriter(outbox, chunks, table, mainBell)

const lanes = new LaneSlots<SocketLane>(table.length / Row.words)
let stopping = false

/** Gives the lane a slot of a new generation; false when all are taken. */
const place = (lane: SocketLane): boolean => {
  const added = lanes.add(lane)
  if (added === undefined) return false
  const { generation, slot } = added
  lane.slot.index = slot
  lane.slot.generation = generation
  lane.slot.handedOverBytes = Atomics.load(table, slot * Row.words + Row.consumed)
  Atomics.store(table, slot * Row.words + Row.lastReceivedAt, (Date.now() - origin) | 0)
  return true
}

const report = (kind: number, lane: SocketLane, a: number, text: string): void => {
  const { index: slot, generation } = lane.slot
  if (slot >= 0) output.record(kind, slot, generation, a, 0, text)
}

const host = new SocketHost(
  {
    frames: (lane, bytes, from, ends, count) => output.frames(lane, bytes, from, ends, count),
    // The wall clock, because the main thread compares it with its wall clock.
    received: (lane) => {
      Atomics.store(
        table,
        lane.slot.index * Row.words + Row.lastReceivedAt,
        (Date.now() - origin) | 0
      )
    },
    written: (lane, bytes) => report(Out.written, lane, bytes, ""),
    finished: (lane) => report(Out.finished, lane, 0, ""),
    peerEnded: (lane) => report(Out.peerEnded, lane, 0, ""),
    closed: (lane, reason) => {
      output.forgetLane(lane)
      if (lane.slot.index >= 0) lanes.end(lane.slot.index)
      closed(lane, encodeReason(reason))
      leaveWhenDone()
    },
    region: (id) => regions.get(id),
    readInto: (lane) => output.readInto(lane),
    opened: (job, lane, peer) => {
      if (place(lane)) report(Out.opened, lane, job, JSON.stringify(peer))
      else {
        lane.close("closed", false)
        failed(job, { step: "worker", code: "", detail: `all ${lanes.count} places are taken` })
      }
    },
    listening: (job, address, port) => output.record(Out.listening, -1, 0, job, port, address),
    failed: (job, failure) => failed(job, failure),
    accepted: (job, lane, peer) => {
      if (stopping || !place(lane)) return false
      const { index: slot, generation } = lane.slot
      output.recordDeferrable(Out.accepted, slot, generation, job, 0, JSON.stringify(peer))
      return true
    }
  },
  nodePlatform
)

/** The end of a lane that only the peer has ended is deferrable. */
const closed = (lane: SocketLane, [code, bytes, text]: ReturnType<typeof encodeReason>): void => {
  const { index: slot, generation } = lane.slot
  if (slot < 0) return
  if (lane.isClosing) output.record(Out.closed, slot, generation, code, bytes, text)
  else output.recordDeferrable(Out.closed, slot, generation, code, bytes, text)
}

const failed = (job: number, failure: object): void => {
  output.record(Out.failed, -1, 0, job, 0, JSON.stringify(failure))
  leaveWhenDone()
}

/** Performs one record of the inbox. */
const perform = (at: number): void => {
  const { words } = inbox
  const kind = words[at + Header.kind] ?? 0
  const slot = words[at + Header.slot] ?? 0
  const generation = words[at + Header.generation] ?? 0
  if (kind === In.release) {
    lanes.release(slot, generation)
    return
  }
  const lane = lanes.find(slot, generation)
  if (lane === undefined) {
    // The lane has ended since: the main thread is notified, and the job completes.
    output.tellDeferred()
    if (kind === In.write || kind === In.command) {
      output.record(Out.written, slot, generation, 0, 0, "")
    } else if (kind === In.finish) output.record(Out.finished, slot, generation, 0, 0, "")
    return
  }
  if (kind === In.start) lane.start()
  else if (kind === In.finish) lane.finish()
  else if (kind === In.close) lane.close("closed", words[at + CloseRecord.inOrder] === 1)
  else {
    const from = textFrom(at)
    const to = textTo(words, at)
    if (kind === In.command) lane.command(copyOf(inbox.bytes, from, to))
    else lane.write(inbox.bytes, from, to)
  }
}

/** Records per check of the inbox, so that sockets get their turn. */
const recordsPerTurn = 1024

const drainInbox = (): boolean => {
  if (!inbox.poll()) return false
  let left = recordsPerTurn
  for (let at = inbox.next(); at >= 0; at = --left > 0 ? inbox.next() : -1) perform(at)
  inbox.release()
  if (inbox.takeWaiting()) output.wakeSoon()
  return true
}

const loop = (): void => {
  madeProgress()
  output.retry()
  leaveWhenDone()
  if (drainInbox()) {
    setImmediate(loop)
    return
  }
  const ring = workerBell.sleepUnless(() => {
    output.retry()
    return inbox.poll()
  })
  if (ring === undefined) setImmediate(loop)
  else void ring.then(loop)
}

/** Ends the thread once it was asked to stop and everything is closed and flushed. */
const leaveWhenDone = (): void => {
  if (!stopping || host.isBusy || !output.isEmpty) return
  output.flush()
  port.close()
  process.exit(0)
}

const obey = (message: WorkerMessage): void => {
  if (message.kind === "open") host.open(message.job, message.open)
  else if (message.kind === "cancel") host.cancel(message.job)
  else if (message.kind === "renew") host.renewCertificates(message.job, message.tls)
  else if (message.kind === "region") {
    if (message.memory === undefined) {
      countGarbage(regions.get(message.id)?.length ?? 0)
      regions.delete(message.id)
    } else regions.set(message.id, new Uint8Array(message.memory))
    // From here on this thread touches no region that was removed.
    port.postMessage("region")
  } else {
    stopping = true
    setImmediate(() => {
      host.stop()
      leaveWhenDone()
    })
  }
}

port.on("message", obey)
loop()
// From here on the thread's load is that of its lanes.
port.postMessage("up")
