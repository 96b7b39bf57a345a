/**
 * Goal: the queues between threads lose nothing, keep the order, wake each other and survive a
 * producer that dies at any step.
 * Method: the shipped ring and doorbell in every interleaving of their steps, for small sizes;
 * and the same exploration with a planted defect, which it must find.
 */
import { assert, describe, it } from "@effect/vitest"
import { Doorbell, doorbellBytes } from "../../../src/native/io/internal/doorbell.ts"
import {
  ringBytes,
  RingConsumer,
  RingDamaged,
  RingProducer
} from "../../../src/native/io/internal/ring.ts"
import {
  chunkPoolBytes,
  mapChunkPool,
  ChunkReader,
  ChunkWriter
} from "../../../src/native/io/internal/chunkPool.ts"
import { interleave, type Thread } from "./interleave.ts"
import { generator } from "./harness.ts"

/** Defects that a test plants. */
interface Defects {
  /** The consumer goes to sleep without a last look. */
  readonly noLastLook?: boolean
  /** The producer rings before it publishes. */
  readonly ringsFirst?: boolean
  /** A full producer waits without a last look. */
  readonly fullNoLastLook?: boolean
  /** The consumer forgets that its producer waits for room. */
  readonly forgetsWaiting?: boolean
  /** A reservation is visible before it is filled. */
  readonly eager?: boolean
}

class EagerProducer extends RingProducer {
  override reserve(length: number): number {
    const at = super.reserve(length)
    this.publish()
    return at
  }
}

const bell = () => {
  const words = new Int32Array(new SharedArrayBuffer(doorbellBytes))
  const doorbell = new Doorbell(words)
  let seen = 0
  return {
    words,
    doorbell,
    *ring(): Thread {
      if (doorbell.takeSleeper()) {
        yield undefined
        doorbell.wake()
      }
      yield undefined
    },
    *arm(): Thread {
      doorbell.note()
      seen = words[0] ?? 0
      yield undefined
      doorbell.raise()
      yield undefined
    },
    /** What `sleep` waits for: the epoch moves on. */
    rang: () => words[0] !== seen
  }
}

/** A producer of `total` records and their consumer, each with a doorbell to sleep on. */
const channel = (total: number, capacity: number, defects: Defects) => () => {
  const words = new Int32Array(new SharedArrayBuffer(ringBytes(capacity)))
  const producer = defects.eager === true ? new EagerProducer(words) : new RingProducer(words)
  const consumer = new RingConsumer(words)
  const [ours, theirs] = [bell(), bell()]
  const got: Array<number> = []

  function* fill(): Thread {
    for (let n = 1; n <= total; n++) {
      let at = producer.reserve(1)
      yield undefined
      while (at < 0) {
        yield* theirs.arm()
        producer.awaitRoom()
        yield undefined
        at = defects.fullNoLastLook === true ? -1 : producer.reserve(1)
        if (at < 0) yield theirs.rang
        else theirs.doorbell.disarm()
        if (at < 0) at = producer.reserve(1)
        yield undefined
      }
      words[at] = n
      yield undefined
      if (defects.ringsFirst === true) yield* ours.ring()
      producer.publish()
      yield undefined
      if (defects.ringsFirst !== true) yield* ours.ring()
    }
  }

  function* empty(): Thread {
    while (got.length < total) {
      let found = consumer.poll()
      yield undefined
      if (!found) {
        yield* ours.arm()
        found = defects.noLastLook !== true && consumer.poll()
        if (found) ours.doorbell.disarm()
        else yield ours.rang
        yield undefined
        continue
      }
      for (let at = consumer.next(); at >= 0; at = consumer.next()) got.push(words[at] ?? 0)
      consumer.release()
      yield undefined
      if (defects.forgetsWaiting !== true && consumer.takeWaiting()) {
        yield undefined
        yield* theirs.ring()
      }
    }
  }

  const expected = Array.from({ length: total }, (_, i) => i + 1).join()
  return {
    threads: [fill(), empty()],
    memory: [words, ours.words, theirs.words, got],
    check: () => (got.join() === expected ? undefined : `got ${got.join()}`)
  }
}

describe("a ring and its doorbells, in every interleaving", () => {
  for (const [records, capacity] of [
    [2, 8],
    [3, 8],
    [3, 16]
  ] as const) {
    it(`carry ${records} records through ${capacity} words, without a lost wake-up`, () => {
      const { failure, schedules } = interleave(channel(records, capacity, {}))
      assert.isUndefined(failure)
      assert.isAbove(schedules, 200)
    })
  }

  const planted: ReadonlyArray<readonly [string, Defects]> = [
    ["a consumer that sleeps without a last look", { noLastLook: true }],
    ["a doorbell before the publication", { ringsFirst: true }],
    ["D2: a full producer that waits without a last look", { fullNoLastLook: true }],
    ["D2: a consumer that forgets who waits for room", { forgetsWaiting: true }],
    ["D3: a reservation that is visible before it is filled", { eager: true }]
  ]
  for (const [name, defects] of planted) {
    it(`planted: ${name} is found`, () => {
      assert.isDefined(interleave(channel(3, 8, defects)).failure)
    })
  }
})

describe("a ring", () => {
  const make = (capacity: number) => {
    const words = new Int32Array(new SharedArrayBuffer(ringBytes(capacity)))
    return { words, producer: new RingProducer(words), consumer: new RingConsumer(words) }
  }

  it("D3: whatever step its producer dies at, what was published arrives and nothing else", () => {
    for (let dies = 0; dies < 30; dies++) {
      const { words, producer, consumer } = make(64)
      const clock = { step: 0 }
      let published = 0
      const alive = (): boolean => clock.step++ < dies
      for (let n = 0; n < 10 && clock.step <= dies; n++) {
        const at = alive() ? producer.reserve(1 + (n % 3)) : -1
        if (at >= 0 && alive()) words[at] = n
        if (at >= 0 && alive()) {
          producer.publish()
          published = n + 1
        }
      }
      const got: Array<number> = []
      if (consumer.poll()) {
        for (let at = consumer.next(); at >= 0; at = consumer.next()) got.push(words[at] ?? -1)
      }
      assert.deepStrictEqual(
        got,
        Array.from({ length: published }, (_, i) => i)
      )
    }
  })

  it("carries records of every length over its end, for a million words", () => {
    const { words, producer, consumer } = make(64)
    let sent = 0
    let got = 0
    for (let total = 0; total < 1_000_000;) {
      for (let at = producer.reserve(sent % 30); at >= 0; at = producer.reserve(sent % 30)) {
        words.fill(sent, at, at + (sent % 30))
        total += sent % 30
        sent++
      }
      producer.publish()
      assert.isTrue(consumer.poll())
      for (let at = consumer.next(); at >= 0; at = consumer.next()) {
        assert.strictEqual(consumer.length, got % 30)
        const end = at + consumer.length
        if (words.subarray(at, end).some((word) => word !== got)) assert.fail(`record ${got}`)
        got++
      }
      consumer.release()
    }
    assert.strictEqual(got, sent)
  })

  it("takes its longest record wherever it begins while empty, and refuses a longer one", () => {
    const { producer, consumer } = make(64)
    const pass = (length: number) => {
      assert.isAtLeast(producer.reserve(length), 0, `a record of ${length} words`)
      producer.publish()
      consumer.poll()
      assert.isAtLeast(consumer.next(), 0)
      consumer.release()
    }
    for (let begun = 0; begun < 64; begun++) {
      pass(producer.largest)
      pass(1)
    }
    assert.throws(() => producer.reserve(producer.largest + 1), RangeError)
  })

  it("refuses to read on when a sequence number is not the next one", () => {
    const { words, producer, consumer } = make(64)
    const at = producer.reserve(1)
    producer.publish()
    words[at - 2] = 7
    consumer.poll()
    assert.throws(() => consumer.next(), RingDamaged)
  })
})

describe("a slab", () => {
  const shape = { chunks: 4, chunkBytes: 256 }

  it("D1: a range is never written again before its reader has finished with it", () => {
    /** Random use; the reader checks its ranges only when it finishes with them. */
    const broken = (Writer: typeof ChunkWriter): number => {
      const memory = mapChunkPool(new SharedArrayBuffer(chunkPoolBytes(shape)), shape)
      const writer = new Writer(memory)
      const reader = new ChunkReader(memory)
      const out: Array<{ chunk: number; from: number; to: number; mark: number }> = []
      let bad = 0
      const random = generator(7)
      for (let round = 0; round < 5_000; round++) {
        const chunk = writer.open()
        if (chunk !== undefined) {
          memory.bytes.fill(0, chunk.nextByte, chunk.end)
          for (let parts = random(4); parts > 0; parts--) {
            const from = chunk.nextByte
            chunk.nextByte = Math.min(chunk.end, from + random(100))
            memory.bytes.fill(round, from, chunk.nextByte)
            writer.published(chunk.index)
            out.push({ chunk: chunk.index, from, to: chunk.nextByte, mark: round & 0xff })
          }
          writer.retire(chunk.index)
        }
        while (out.length > random(8)) {
          const [range] = out.splice(random(out.length), 1)
          if (range === undefined) break
          if (!memory.bytes.slice(range.from, range.to).every((b) => b === range.mark)) bad++
          reader.finish(range.chunk)
        }
      }
      for (const { chunk } of out) reader.finish(chunk)
      writer.reclaim()
      if (writer.freeChunks !== shape.chunks) bad++
      return bad
    }
    assert.strictEqual(broken(ChunkWriter), 0)
    // Planted: a writer that takes its chunks back without asking the counts.
    class Hasty extends ChunkWriter {
      override published(): void {}
    }
    assert.isAbove(broken(Hasty), 0)
  })
})
