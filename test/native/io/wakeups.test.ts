/**
 * Goal: no thread sleeps, waits or holds its reading while what it waits for is there: the loops
 * that ship, in front of each of their atomic accesses.
 * Method: one thread's act is stopped before each atomic access and the other thread's act runs
 * there; afterwards either the first saw it or the second owes it a wake-up.
 */
import { EventEmitter } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Doorbell, doorbellBytes } from "../../../src/native/io/internal/doorbell.ts"
import type { Connection } from "../../../src/native/io/internal/platform.ts"
import { SocketLane, type LaneHost } from "../../../src/native/io/internal/socketLane.ts"
import { InboxWriter } from "../../../src/native/io/internal/inboxWriter.ts"
import type { LaneHandle } from "../../../src/native/io/internal/laneHandle.ts"
import { LaneDirectory } from "../../../src/native/io/internal/laneDirectory.ts"
import { LaneSlots } from "../../../src/native/io/internal/laneSlots.ts"
import { OutboxWriter } from "../../../src/native/io/internal/outboxWriter.ts"
import { addConsumed, FramesRecord, In, Out, Row } from "../../../src/native/io/internal/records.ts"
import { ringBytes, RingConsumer, RingProducer } from "../../../src/native/io/internal/ring.ts"
import {
  type OpenChunk,
  type LaneSlot,
  chunkPoolBytes,
  mapChunkPool,
  ChunkReader,
  ChunkWriter
} from "../../../src/native/io/internal/chunkPool.ts"
import { intruded, type Intrusion } from "./interleave.ts"

const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)
const shape = { chunks: 2, chunkBytes: 256 }
const receiveBytes = 100
const limits = {
  sendBytes: 1_000,
  receiveBytes,
  readTurnBytes: 1_000,
  writeJobBytes: 1_000,
  openWithinMs: 1_000,
  stallAfterMs: 1_000,
  closeWithinMs: 1_000
}

/** The word of a doorbell that is 1 while its thread sleeps. */
const asleepAt = 16

const bellOf = () => {
  const words = new Int32Array(shared(doorbellBytes))
  return { bell: new Doorbell(words), isAsleep: () => words[asleepAt] === 1, words }
}

/** A sleeper on a ring, and a producer that fills it and rings. */
const sleeping = () => {
  const words = new Int32Array(shared(ringBytes(64)))
  const { bell, isAsleep, words: bellWords } = bellOf()
  const producer = new RingProducer(words)
  const consumer = new RingConsumer(words)
  const ringer = new Doorbell(bellWords)
  let slept = false
  const sleep = (): void => {
    slept = bell.sleepUnless(() => consumer.poll()) !== undefined
  }
  const produce = (): void => {
    producer.reserve(1)
    producer.publish()
    ringer.ring()
  }
  const check = (): string | undefined => {
    assert.isTrue(consumer.poll())
    return slept && isAsleep() ? "it sleeps beside a record" : undefined
  }
  return { check, produce, sleep }
}

/** The main thread's way into a full inbox, and a worker that empties it. */
const recording = (): Intrusion => {
  const inbox = shared(ringBytes(64))
  const workerBell = shared(doorbellBytes)
  const inlet = new InboxWriter({ inbox, workerBell })
  while (inlet.record(In.finish, 0, 0, 0, undefined));
  inlet.flush()
  const consumer = new RingConsumer(new Int32Array(inbox))
  assert.isTrue(consumer.takeWaiting())
  let isRecorded = false
  let isOwed = false
  return {
    act: () => (isRecorded = inlet.record(In.finish, 0, 0, 0, undefined)),
    intrude: () => {
      consumer.poll()
      while (consumer.next() >= 0);
      consumer.release()
      isOwed = consumer.takeWaiting()
    },
    check: () => (isRecorded || isOwed ? undefined : "it waits for room that is there")
  }
}

const writerOf = (words: number) => {
  const outbox = new Int32Array(shared(ringBytes(words)))
  const table = new Int32Array(shared(Row.words * 4))
  const memory = mapChunkPool(shared(chunkPoolBytes(shape)), shape)
  const { bell } = bellOf()
  const producer = new RingProducer(outbox)
  const writer = new OutboxWriter(producer, new ChunkWriter(memory), table, bell)
  return { consumer: new RingConsumer(outbox), writer, slab: new ChunkReader(memory), table }
}

/** A worker's way out that waits for room, and a main thread that makes it. */
const retrying = (): Intrusion => {
  const { consumer, writer } = writerOf(64)
  for (let n = 0; n < 8; n++) writer.record(Out.finished, 0, 0, 0, 0, "")
  assert.isFalse(writer.isEmpty)
  let isOwed = false
  return {
    act: () => writer.retry(),
    intrude: () => {
      consumer.poll()
      while (consumer.next() >= 0);
      consumer.release()
      isOwed = consumer.takeWaiting() || isOwed
    },
    check: () => (writer.isEmpty || isOwed ? undefined : "it waits for room that is there")
  }
}

/** A lane whose user is behind, and the user, who catches up. */
const pausing = (): Intrusion => {
  const { writer, table } = writerOf(256)
  let isHeld = false
  const lane = {
    slot: { index: 0, generation: 1, chunk: undefined, handedOverBytes: 0 },
    limits,
    pause: () => (isHeld = true),
    resume: () => (isHeld = false)
  } as unknown as SocketLane
  let isOwed = false
  return {
    act: () => writer.frames(lane, new Uint8Array(200), 0, Int32Array.of(200), 1),
    intrude: () => (isOwed = addConsumed(table, 0, 200)),
    check: () => (!isHeld || isOwed ? undefined : "it is held, and its user has caught up")
  }
}

describe("a lane whose frames find no room", () => {
  it("L1: reads on only when all that it has read is out", () => {
    const { consumer, slab, writer } = writerOf(256)
    let isHeld = false
    const lane = {
      slot: { index: 0, generation: 1, chunk: undefined, handedOverBytes: 0 },
      limits: { ...limits, receiveBytes: 10_000 },
      pause: () => (isHeld = true),
      resume: () => (isHeld = false)
    } as unknown as SocketLane
    // One read may come in several runs. A chunk has room for one of these.
    const runs = 5
    for (let run = 0; run < runs; run++) {
      writer.frames(lane, new Uint8Array(200), 0, Int32Array.of(200), 1)
    }
    for (let taken = 0; taken < runs; taken++) {
      assert.strictEqual(isHeld, taken + shape.chunks < runs, `${taken} taken`)
      writer.flush()
      consumer.poll()
      const at = consumer.next()
      assert.isAtLeast(at, 0)
      slab.finish(consumer.words[at + FramesRecord.chunk]!)
      consumer.release()
      writer.retry()
    }
    assert.isTrue(writer.isEmpty)
  })
})

describe("a wake-up is not lost", () => {
  it("by a thread that goes to sleep, wherever a record comes", () => {
    const failure = intruded(() => {
      const { check, produce, sleep } = sleeping()
      return { act: sleep, intrude: produce, check }
    })
    assert.isUndefined(failure)
  })

  it("by a producer, wherever its consumer goes to sleep", () => {
    const failure = intruded(() => {
      const { check, produce, sleep } = sleeping()
      return { act: produce, intrude: sleep, check }
    })
    assert.isUndefined(failure)
  })

  it("by a record that finds its ring full, wherever room is made", () => {
    assert.isUndefined(intruded(recording))
  })

  it("by a worker that waits for room, wherever it is made", () => {
    assert.isUndefined(intruded(retrying))
  })

  it("by a lane that pauses its reading, wherever its user catches up", () => {
    assert.isUndefined(intruded(pausing))
  })

  it("planted: a sleeper that looks before it raises its flag is found", () => {
    const failure = intruded(() => {
      const words = new Int32Array(shared(ringBytes(64)))
      const { bell, isAsleep, words: bellWords } = bellOf()
      const producer = new RingProducer(words)
      const consumer = new RingConsumer(words)
      let slept = false
      return {
        act: () => {
          if (consumer.poll()) return
          bell.arm()
          slept = bell.sleep() !== undefined
        },
        intrude: () => {
          producer.reserve(1)
          producer.publish()
          new Doorbell(bellWords).ring()
        },
        check: () => (slept && isAsleep() ? "it sleeps beside a record" : undefined)
      }
    })
    assert.isDefined(failure)
  })
})

describe("a ring", () => {
  it("is published by an atomic store, behind which its records are seen", () => {
    const words = new Int32Array(shared(ringBytes(64)))
    const producer = new RingProducer(words)
    producer.reserve(1)
    const { store } = Atomics
    const stored: Array<number> = []
    Object.assign(Atomics, {
      store: (array: Int32Array, at: number, value: number) => {
        if (array === words) stored.push(value)
        return store(array, at, value)
      }
    })
    try {
      producer.publish()
    } finally {
      Object.assign(Atomics, { store })
    }
    assert.deepStrictEqual(stored, [3])
  })
})

describe("the slots of a worker", () => {
  it("give a record of an older generation nothing, and take back a slot once", () => {
    const slots = new LaneSlots<string>(1)
    const old = slots.add("old")!
    slots.end(old.slot)
    assert.isUndefined(slots.find(old.slot, old.generation))
    assert.isUndefined(slots.add("early"))
    slots.release(old.slot, old.generation)
    const next = slots.add("next")!
    assert.strictEqual(next.slot, old.slot)
    assert.isUndefined(slots.find(old.slot, old.generation))
    assert.strictEqual(slots.find(next.slot, next.generation), "next")
    slots.release(old.slot, old.generation)
    assert.isUndefined(slots.add("late"))
  })
})

describe("the receive memory of a worker", () => {
  it("is left in half to lanes with short reads, however many read long ones", () => {
    const { consumer, writer } = writerOf(256)
    const laneOf = (index: number) => {
      const slot: LaneSlot = { index, generation: 1, chunk: undefined, handedOverBytes: 0 }
      const moveInto = (chunk: OpenChunk): void => void (slot.chunk = chunk)
      const leave = (): void => void (slot.chunk = undefined)
      const fake = { slot, receiveBytes, moveInto, leave, cutBytes: 0, lastReadBytes: 100_000 }
      return fake as unknown as SocketLane
    }
    const lanes = [0, 1, 2].map(laneOf)
    const chunks = lanes.map((lane) => writer.readInto(lane))
    assert.strictEqual(chunks.filter((chunk) => chunk !== undefined).length, shape.chunks / 2)
    // A lane that has ended leaves its chunk to others.
    writer.forgetLane(lanes[0]!)
    assert.isDefined(writer.readInto(lanes[1]!))
    writer.frames(laneOf(0), new Uint8Array(50), 0, Int32Array.of(50), 1)
    writer.flush()
    assert.isTrue(writer.isEmpty && consumer.poll())
  })

  it("takes no more frames into a chunk than its table of ends has entries", () => {
    const { consumer, writer } = writerOf(256)
    const slot: LaneSlot = { index: 0, generation: 1, chunk: undefined, handedOverBytes: 0 }
    const lane = { slot, receiveBytes, pause: () => {} } as unknown as SocketLane
    const count = 7
    const ends = Int32Array.from({ length: count }, (_, index) => index + 1)
    writer.frames(lane, new Uint8Array(count), 0, ends, count)
    writer.flush()
    consumer.poll()
    const entries: Array<number> = []
    for (let at = consumer.next(); at >= 0; at = consumer.next()) {
      const [chunk = 0, first = 0, frames = 0] = consumer.words.subarray(at + FramesRecord.chunk)
      for (let entry = first; entry < first + frames; entry++) {
        entries.push(entry)
        assert.strictEqual(Math.floor((entry * 64) / shape.chunkBytes), chunk)
      }
    }
    assert.lengthOf(entries, count)
  })
})

describe("a lane whose user is behind", () => {
  it("is let on by no look after its end: its slot may be that of another lane", () => {
    const { writer } = writerOf(256)
    const log: Array<string> = []
    const lane = {
      slot: { index: 0, generation: 1, chunk: undefined, handedOverBytes: 0 },
      receiveBytes,
      pause: () => log.push("pause"),
      resume: () => log.push("resume")
    } as unknown as SocketLane
    writer.frames(lane, new Uint8Array(200), 0, Int32Array.of(200), 1)
    writer.retry()
    writer.forgetLane(lane)
    writer.retry()
    assert.deepStrictEqual(log, ["pause", "resume", "pause"])
  })
})

describe("the slots of the main thread", () => {
  it("give a record of an older generation nothing, and one of a lane that is gone", () => {
    const lanes = new LaneDirectory(1)
    const [old, next] = [{}, {}] as [LaneHandle, LaneHandle]
    lanes.add(old, 0, 1)
    assert.strictEqual(lanes.find(0, 1), old)
    lanes.remove(old)
    assert.isUndefined(lanes.find(0, 1))
    lanes.add(next, 0, 2)
    assert.isUndefined(lanes.find(0, 1))
    assert.strictEqual(lanes.find(0, 2), next)
  })
})

describe("the read budget of a lane", () => {
  it("ends its reading for this turn, and the next turn goes on", () => {
    const socket = Object.assign(new EventEmitter(), {
      pause: () => log.push("pause"),
      resume: () => log.push("resume"),
      destroyed: false
    })
    const log: Array<string> = []
    let deferred = 0
    const host = {
      frames: () => {},
      received: () => {},
      deferTurn: () => void deferred++
    } as unknown as LaneHost
    const framer = {
      maxFrameBytes: 1_000,
      open: () => ({ length: (_bytes: Uint8Array, from: number, to: number) => to - from })
    }
    const lane = new SocketLane(host, socket as unknown as Connection, framer, {}, limits, false)
    const bytes = new Uint8Array(400)
    const reads = (): Array<boolean> => [0, 1, 2].map(() => lane.read(bytes, 0, 400, 400))
    assert.deepStrictEqual(reads(), [true, true, false])
    assert.strictEqual(deferred, 1)
    lane.nextTurn()
    assert.deepStrictEqual(log, ["resume"])
    assert.deepStrictEqual(reads(), [true, true, false])
  })
})
