/**
 * The I/O worker: a thread without Effect that owns its sockets completely.
 *
 * Jobs that open something come through its message port, because they carry objects and are
 * rare; jobs on an open lane come through the inbox ring. Everything goes back through the
 * outbox ring. It stops when it is asked to: sockets are closed in order, the last records are
 * flushed, and then the thread ends itself.
 */
import { parentPort, workerData } from "node:worker_threads"
import { ownOctets } from "../../../schema/copyBytes.ts"
import { Doorbell } from "./doorbell.ts"
import { encoded } from "./endReason.ts"
import { countGarbage } from "./garbage.ts"
import type { HostLane } from "./socketLane.ts"
import type { OpenJob } from "./messages.ts"
import { LaneSlots } from "./laneSlots.ts"
import { loadFramer } from "./loadFramer.ts"
import { Outlet } from "./outboxWriter.ts"
import { countIn, madeProgress } from "./progress.ts"
import { At, In, Out, Row, type WorkerMemory } from "./records.ts"
import { RingConsumer, RingProducer } from "./ring.ts"
import { type SlabShape, slabMemory, SlabWriter } from "./chunkPool.ts"
import { SocketHost } from "./socketHost.ts"

/** What a worker is started with. */
export interface WorkerStart {
  readonly memory: WorkerMemory
  readonly slabShape: SlabShape
  /** Milliseconds since 1970 from which `Row.heard` counts. */
  readonly origin: number
  readonly regions: ReadonlyArray<readonly [number, SharedArrayBuffer]>
}

/** What the message port carries to a worker. */
export type WorkerMessage =
  | { readonly kind: "open"; readonly job: number; readonly open: OpenJob }
  | { readonly kind: "cancel"; readonly job: number }
  | { readonly kind: "region"; readonly id: number; readonly memory: SharedArrayBuffer | undefined }
  | { readonly kind: "stop" }

const start = workerData as WorkerStart
const { memory, origin } = start
const port = parentPort
if (port === null) throw new Error("this module runs in a worker")
countIn(memory.progress)

const mainBell = new Doorbell(new Int32Array(memory.mainBell))
const ownBell = new Doorbell(new Int32Array(memory.workerBell))
const inbox = new RingConsumer(new Int32Array(memory.inbox))
const table = new Int32Array(memory.table)
const regions = new Map(start.regions.map(([id, buffer]) => [id, new Uint8Array(buffer)]))
const slab = new SlabWriter(slabMemory(memory.slab, start.slabShape))
const outbox = new RingProducer(new Int32Array(memory.outbox))
const outlet = new Outlet(outbox, slab, table, mainBell)

const lanes = new LaneSlots<HostLane>(table.length / Row.words)
let stopping = false

/** Gives the lane a slot of a new generation; false when all are taken. */
const place = (lane: HostLane): boolean => {
  const added = lanes.add(lane)
  if (added === undefined) return false
  const { generation, slot } = added
  lane.place.slot = slot
  lane.place.generation = generation
  lane.place.handedOver = Atomics.load(table, slot * Row.words + Row.consumed)
  Atomics.store(table, slot * Row.words + Row.heard, (Date.now() - origin) | 0)
  return true
}

const report = (kind: number, lane: HostLane, a: number, text: string): void => {
  const { slot, generation } = lane.place
  if (slot >= 0) outlet.record(kind, slot, generation, a, 0, text)
}

const host = new SocketHost(
  {
    frames: (lane, bytes, from, ends, count) => outlet.frames(lane, bytes, from, ends, count),
    // The wall clock, because the main thread compares it with its own.
    heard: (lane) => {
      Atomics.store(table, lane.place.slot * Row.words + Row.heard, (Date.now() - origin) | 0)
    },
    written: (lane, bytes) => report(Out.written, lane, bytes, ""),
    finished: (lane) => report(Out.finished, lane, 0, ""),
    peerEnded: (lane) => report(Out.peerEnded, lane, 0, ""),
    closed: (lane, reason) => {
      outlet.forget(lane)
      if (lane.place.slot >= 0) lanes.end(lane.place.slot)
      closed(lane, encoded(reason))
      leaveWhenDone()
    },
    region: (id) => regions.get(id),
    readInto: (lane) => outlet.readInto(lane),
    opened: (job, lane, peer) => {
      if (place(lane)) report(Out.opened, lane, job, JSON.stringify(peer))
      else {
        lane.close("closed", false)
        failed(job, { step: "worker", code: "", detail: `all ${lanes.count} places are taken` })
      }
    },
    listening: (job, address, port) => outlet.record(Out.listening, -1, 0, job, port, address),
    failed: (job, failure) => failed(job, failure),
    accepted: (job, lane, peer) => {
      if (stopping || !place(lane)) return false
      const { slot, generation } = lane.place
      outlet.news(Out.accepted, slot, generation, job, 0, JSON.stringify(peer))
      return true
    }
  },
  loadFramer
)

/** Nobody waits for the end of a lane that only the peer has ended. */
const closed = (lane: HostLane, [code, bytes, text]: ReturnType<typeof encoded>): void => {
  const { slot, generation } = lane.place
  if (slot < 0) return
  if (lane.isClosing) outlet.record(Out.closed, slot, generation, code, bytes, text)
  else outlet.news(Out.closed, slot, generation, code, bytes, text)
}

const failed = (job: number, failure: object): void => {
  outlet.record(Out.failed, -1, 0, job, 0, JSON.stringify(failure))
  leaveWhenDone()
}

/** Performs one record of the inbox. */
const perform = (at: number): void => {
  const { words } = inbox
  const kind = words[at + At.kind] ?? 0
  const slot = words[at + At.slot] ?? 0
  const generation = words[at + At.generation] ?? 0
  if (kind === In.release) {
    lanes.release(slot, generation)
    return
  }
  const lane = lanes.find(slot, generation)
  if (lane === undefined) {
    // The lane has ended meanwhile: the main thread hears of it, and the job is answered.
    outlet.hurry()
    if (kind === In.write || kind === In.command) {
      outlet.record(Out.written, slot, generation, 0, 0, "")
    } else if (kind === In.finish) outlet.record(Out.finished, slot, generation, 0, 0, "")
    return
  }
  if (kind === In.start) lane.start()
  else if (kind === In.finish) lane.finish()
  else if (kind === In.close) lane.close("closed", words[at + At.a] === 1)
  else {
    const from = (at + At.text + 1) * 4
    const to = from + (words[at + At.text] ?? 0)
    if (kind === In.command) lane.command(ownOctets(inbox.bytes, from, to))
    else lane.write(inbox.bytes, from, to)
  }
}

/** Records per look at the inbox, so that sockets get their turn. */
const recordsPerTurn = 1024

const drainInbox = (): boolean => {
  if (!inbox.poll()) return false
  let left = recordsPerTurn
  for (let at = inbox.next(); at >= 0; at = --left > 0 ? inbox.next() : -1) perform(at)
  inbox.release()
  if (inbox.takeWaiting()) outlet.wakeSoon()
  return true
}

const loop = (): void => {
  madeProgress()
  outlet.retry()
  leaveWhenDone()
  if (drainInbox()) {
    setImmediate(loop)
    return
  }
  const ring = ownBell.sleepUnless(() => {
    outlet.retry()
    return inbox.poll()
  })
  if (ring === undefined) setImmediate(loop)
  else void ring.then(loop)
}

/** Ends the thread once it was asked to stop and everything is closed and flushed. */
const leaveWhenDone = (): void => {
  if (!stopping || host.busy || !outlet.empty) return
  outlet.flush()
  port.close()
  process.exit(0)
}

const obey = (message: WorkerMessage): void => {
  if (message.kind === "open") host.open(message.job, message.open)
  else if (message.kind === "cancel") host.cancel(message.job)
  else if (message.kind === "region") {
    if (message.memory === undefined) {
      countGarbage(regions.get(message.id)?.length ?? 0)
      regions.delete(message.id)
    } else regions.set(message.id, new Uint8Array(message.memory))
    // Nothing that this thread does from here on touches a region that is gone.
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
