/**
 * The test of the tests: plants known defects into a copy of the sources, one by one, and runs
 * the test that must fail. `node scripts/plant.ts [NUMBER]`, for example `node scripts/plant.ts
 * D4`. Ends with code 1 when a planted defect goes unseen.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { actors } from "./plantedActors.ts"
import { fabric } from "./plantedFabric.ts"
import { copyOf, type Defect, plant, root } from "./planting.ts"

const lanes = "src/native/io/internal"
const inLanes: ReadonlyArray<Defect> = [
  {
    number: "D1",
    what: "a chunk is taken back while the main thread still reads it",
    file: `${lanes}/chunkPool.ts`,
    from: "=== this.#published[chunk]",
    to: "!== undefined",
    test: "native/io/rings",
    name: "D1"
  },
  {
    number: "D2",
    what: "a drain that never tells its producer of room",
    file: `${lanes}/workerDriver.ts`,
    from: "if (this.#outbox.release()) this.#inbox.ring()",
    to: "void this.#outbox.release()",
    test: "native/io/defects",
    name: "D2"
  },
  {
    number: "D3",
    what: "a reservation is visible before it is filled",
    file: `${lanes}/ring.ts`,
    from: [
      "    this.#sequence = (this.#sequence + 1) | 0",
      "    this.#tail = (this.#tail + total) | 0"
    ].join("\n"),
    to: [
      "    this.#sequence = (this.#sequence + 1) | 0",
      "    this.#tail = (this.#tail + total) | 0",
      "    this.publish()"
    ].join("\n"),
    test: "native/io/rings",
    name: "D3"
  },
  {
    number: "D4",
    what: "good frames before a bad one are dropped",
    file: `${lanes}/reassembly.ts`,
    from: "      next = this.#scan(bytes, next, to)\n    } finally {\n      this.flush()\n    }",
    to: [
      "      next = this.#scan(bytes, next, to)",
      "      this.flush()",
      "    } finally {",
      "      this.#count = 0",
      "    }"
    ].join("\n"),
    test: "native/io/laneParts",
    name: "D4"
  },
  {
    number: "D6",
    what: "an accepted TLS connection has no lane attached",
    file: `${lanes}/socketHost.ts`,
    from: "if (!this.#events.accepted(id, lane, peer)) read.destroy()",
    to: "if (this.#jobs.size > 1 || !this.#events.accepted(id, lane, peer)) read.destroy()",
    test: "native/io/defects",
    name: "D6"
  },
  {
    number: "D7",
    what: "a lane is handed out before its handshake is over",
    file: `${lanes}/sockets.ts`,
    from: 'settings === undefined ? "connect" : "secureConnect"',
    to: '"connect"',
    test: "native/io/defects",
    name: "D7"
  },
  {
    number: "D8",
    what: "reading goes on however far the user is behind",
    file: `${lanes}/outboxWriter.ts`,
    from: "if (this.#untakenBytes(lane, row) <= limit) return",
    to: "if (limit >= 0) return",
    test: "native/io/defects",
    name: "D8"
  },
  {
    number: "D8w",
    what: "a worker falls asleep without another look at the readers it holds",
    file: `${lanes}/worker.ts`,
    from: "  const ring = workerBell.sleepUnless(() => {\n    output.retry()\n",
    to: [
      // The moment before the flag goes up is made longer than it happens to be.
      "  for (const until = performance.now() + 0.5; performance.now() < until; );",
      "  const ring = workerBell.sleepUnless(() => {\n"
    ].join("\n"),
    test: "native/io/defects",
    name: "D8: a wake-up for something else"
  },
  {
    number: "D9",
    what: "a write job takes the whole queue",
    file: `${lanes}/sendQueue.ts`,
    from: "return buffer.subarray(start, Math.min(end, start + most))",
    to: "return buffer.subarray(start, end)",
    test: "native/io/laneParts",
    name: "D9"
  },
  {
    number: "D10",
    what: "without workers every open counts as a fallback",
    file: `${lanes}/workerPool.ts`,
    from: "if (drivers.length > 0) this.counts.fallbacks++",
    to: "this.counts.fallbacks++",
    test: "native/io/ioPool",
    name: "D10"
  },
  {
    number: "D11",
    what: "nothing is read while a write is out",
    file: `${lanes}/socketLane.ts`,
    from: "    this.#writingSince = this.#host.now()",
    to: "    this.#writingSince = this.#host.now()\n    this.pause(PauseReason.output)",
    test: "native/io/defects",
    name: "D11"
  },
  {
    number: "D12",
    what: "the end of the peer takes the result of the write",
    file: `${lanes}/pendingOperations.ts`,
    from: 'if (!this.hasEnded) this.#phase = "ended"',
    to: 'if (!this.hasEnded) this.#phase = "ended"\n    this.#isWriting = false',
    test: "native/io/laneParts",
    name: "D12"
  },
  {
    number: "D13",
    what: "a lane is released while its jobs are out",
    file: `${lanes}/pendingOperations.ts`,
    from: 'if (this.#phase !== "ended" || this.pending > 0) return false',
    to: 'if (this.#phase !== "ended") return false',
    test: "native/io/laneParts",
    name: "D13"
  },
  {
    number: "D15",
    what: "the end overtakes the frames before it",
    file: "src/native/io/Lane.ts",
    from: "if (frames.length > 0) return Effect.succeed(frames)",
    to: "if (frames.length > 0 && handle.end === undefined) return Effect.succeed(frames)",
    test: "native/io/ioPool",
    name: "D15"
  },
  {
    number: "D16",
    what: "a full socket is an error",
    file: `${lanes}/socketLane.ts`,
    from: "      this.#completeWrite(error == null ? this.#writingBytes : 0)\n    )",
    to: [
      "      this.#completeWrite(error == null ? this.#writingBytes : 0)\n    )",
      "    if (this.socket.writableLength > 0) this.#destroy()"
    ].join("\n"),
    test: "native/io/defects",
    name: "D16"
  },
  {
    number: "D17",
    what: "a dispatch without room still counts",
    file: `${lanes}/laneHandle.ts`,
    from: '        this.operations.completed("write")\n        return false',
    to: "        return false",
    test: "native/io/laneParts",
    name: "D17"
  },
  {
    number: "D18",
    what: "a write that finds its lane closed has no result",
    file: `${lanes}/socketLane.ts`,
    from: "if (this.#writingBytes === 0) return",
    to: "if (this.#writingBytes === 0 || this.#isClosing) return",
    test: "native/io/ioPool",
    name: "slow peer"
  },
  {
    number: "D19",
    what: "the rest of a burst is moved for each frame",
    file: `${lanes}/reassembly.ts`,
    from: "      start = end\n      if (consumes)",
    to: [
      "      bytes.copyWithin(end, end, to)",
      "      bytes.slice(end, to)",
      "      start = end",
      "      if (consumes)"
    ].join("\n"),
    test: "native/io/laneParts",
    name: "D19"
  },
  {
    number: "D22",
    what: "liveness is stamped when frames are taken",
    file: `${lanes}/workerDriver.ts`,
    from: "return this.#origin + lastReceivedAt(this.#table, slot)",
    to: "return handle.lastReceivedAt",
    test: "native/io/ioPool",
    name: "D22"
  },
  {
    number: "D23",
    what: "TLS connects stay on the main thread",
    file: `${lanes}/workerPool.ts`,
    from: "if (inWorker && !this.#stopping) {",
    to: 'if (inWorker && !this.#stopping && opener.job.kind !== "connect") {',
    test: "native/io/defects",
    name: "D23"
  }
]

const defects = [...inLanes, ...actors, ...fabric]

const copied = ["src", "test", "bench", "package.json", "tsconfig.json", "vitest.config.ts"]
const copy = copyOf(copied)

/** Plants a defect, runs its test, and takes it out again; true when the test failed. */
const seen = (defect: Defect): boolean => {
  const takeOut = plant(copy, defect)
  const vitest = join(root, "node_modules/vitest/vitest.mjs")
  const test = `test/${defect.test}.test.ts`
  const args = [vitest, "run", test, "-t", defect.name, "--testTimeout", "8000"]
  const { status } = spawnSync(process.execPath, args, { cwd: copy, timeout: 120_000 })
  takeOut()
  return status !== 0
}

const wanted = process.argv[2]
let unseen = 0
for (const defect of defects.filter(({ number }) => wanted === undefined || number === wanted)) {
  const found = seen(defect)
  if (!found) unseen++
  console.log(`${found ? "seen  " : "UNSEEN"} ${defect.number.padEnd(4)} ${defect.what}`)
}
rmSync(copy, { recursive: true })
process.exitCode = unseen === 0 ? 0 : 1
