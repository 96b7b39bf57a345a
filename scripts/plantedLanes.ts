/** Defects of the lanes that their tests must find. */
import type { Defect } from "./planting.ts"

const internal = "src/native/io/internal"
export const lanes: ReadonlyArray<Defect> = [
  {
    number: "D1",
    what: "a chunk is taken back while the main thread still reads it",
    file: `${internal}/chunkPool.ts`,
    from: "=== this.#published[chunk]",
    to: "!== undefined",
    test: "native/io/rings",
    name: "D1"
  },
  {
    number: "D2",
    what: "a drain that never tells its producer of room",
    file: `${internal}/workerDriver.ts`,
    from: "if (this.#outbox.release()) this.#inbox.ring()",
    to: "void this.#outbox.release()",
    test: "native/io/defects",
    name: "D2"
  },
  {
    number: "D3",
    what: "a reservation is visible before it is filled",
    file: `${internal}/ring.ts`,
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
    file: `${internal}/reassembly.ts`,
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
    file: `${internal}/socketHost.ts`,
    from: "if (!this.#events.accepted(id, lane, peer)) read.destroy()",
    to: "if (this.#jobs.size > 1 || !this.#events.accepted(id, lane, peer)) read.destroy()",
    test: "native/io/defects",
    name: "D6"
  },
  {
    number: "D7",
    what: "a lane is handed out before its handshake is over",
    file: `${internal}/sockets.ts`,
    from: 'settings === undefined ? "connect" : "secureConnect"',
    to: '"connect"',
    test: "native/io/defects",
    name: "D7"
  },
  {
    number: "D8",
    what: "reading goes on however far the user is behind",
    file: `${internal}/outboxWriter.ts`,
    from: "if (this.#untakenBytes(lane, row) <= limit) return",
    to: "if (limit >= 0) return",
    test: "native/io/defects",
    name: "D8"
  },
  {
    number: "D8w",
    what: "a worker falls asleep without another look at the readers it holds",
    file: `${internal}/worker.ts`,
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
    file: `${internal}/sendQueue.ts`,
    from: "return buffer.subarray(start, Math.min(end, start + most))",
    to: "return buffer.subarray(start, end)",
    test: "native/io/laneParts",
    name: "D9"
  },
  {
    number: "D10",
    what: "without workers every open counts as a fallback",
    file: `${internal}/workerPool.ts`,
    from: "if (drivers.length > 0) this.counts.fallbacks++",
    to: "this.counts.fallbacks++",
    test: "native/io/ioPool",
    name: "D10"
  },
  {
    number: "D11",
    what: "nothing is read while a write is out",
    file: `${internal}/socketLane.ts`,
    from: "    this.#writingSince = this.#host.timers.now()",
    to: "    this.#writingSince = this.#host.timers.now()\n    this.pause(PauseReason.output)",
    test: "native/io/defects",
    name: "D11"
  },
  {
    number: "D12",
    what: "the end of the peer takes the result of the write",
    file: `${internal}/pendingOperations.ts`,
    from: 'if (!this.hasEnded) this.#phase = "ended"',
    to: 'if (!this.hasEnded) this.#phase = "ended"\n    this.#isWriting = false',
    test: "native/io/laneParts",
    name: "D12"
  },
  {
    number: "D13",
    what: "a lane is released while its jobs are out",
    file: `${internal}/pendingOperations.ts`,
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
    file: `${internal}/socketLane.ts`,
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
    file: `${internal}/laneHandle.ts`,
    from: '        this.operations.completed("write")\n        return false',
    to: "        return false",
    test: "native/io/laneParts",
    name: "D17"
  },
  {
    number: "D18",
    what: "a write that finds its lane closed has no result",
    file: `${internal}/socketLane.ts`,
    from: "if (this.#writingBytes === 0) return",
    to: "if (this.#writingBytes === 0 || this.#isClosing) return",
    test: "native/io/ioPool",
    name: "slow peer"
  },
  {
    number: "D19",
    what: "the rest of a burst is moved for each frame",
    file: `${internal}/reassembly.ts`,
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
    file: `${internal}/workerDriver.ts`,
    from: "return this.#origin + lastReceivedAt(this.#table, slot)",
    to: "return handle.lastReceivedAt",
    test: "native/io/ioPool",
    name: "D22"
  },
  {
    number: "D23",
    what: "TLS connects stay on the main thread",
    file: `${internal}/workerPool.ts`,
    from: "if (inWorker && !this.#stopping) {",
    to: 'if (inWorker && !this.#stopping && opener.job.kind !== "connect") {',
    test: "native/io/defects",
    name: "D23"
  }
]
