/**
 * Goal: a lane and a listener end where their sockets are as they should: in time, for the reason
 * that the peer gave, and only once every thread has ended its share.
 * Method: sockets, timers and threads that the test plays itself.
 */
import { EventEmitter } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import type { Framer } from "../../../src/native/io/Framer.ts"
import { Listeners } from "../../../src/native/io/internal/listeners.ts"
import type { MainThreadDriver } from "../../../src/native/io/internal/mainThreadDriver.ts"
import type { EndReason } from "../../../src/native/io/internal/messages.ts"
import type { Opener } from "../../../src/native/io/internal/openJobs.ts"
import type { Connection, Platform, Timers } from "../../../src/native/io/internal/platform.ts"
import { type HostEvents, SocketHost } from "../../../src/native/io/internal/socketHost.ts"
import { type LaneHost, SocketLane } from "../../../src/native/io/internal/socketLane.ts"
import type { WorkerDriver } from "../../../src/native/io/internal/workerDriver.ts"

const limits = {
  sendBytes: 1_000,
  receiveBytes: 1_000,
  readTurnBytes: 1_000,
  writeJobBytes: 1_000,
  openWithinMs: 700,
  stallAfterMs: 1_000,
  closeWithinMs: 300
}

/** Frames of four bytes. */
const framer: Framer = {
  maxFrameBytes: 4,
  open: () => ({ length: (_bytes, from, to) => (to - from < 4 ? 0 : 4) })
}

/** A socket that notes how it is ended, and closes once it is destroyed. */
const fakeSocket = (allowHalfOpen: boolean) => {
  const log: Array<string> = []
  const socket = Object.assign(new EventEmitter(), {
    allowHalfOpen,
    destroyed: false,
    writableEnded: false,
    writableLength: 0,
    pause: () => {},
    resume: () => {},
    end: () => void log.push("end"),
    destroy: () => {
      log.push("destroy")
      socket.destroyed = true
      socket.emit("close")
    }
  })
  return { log, socket }
}

/** Timers that fire when the test says so; `running` has those that were not cancelled. */
const fakeTimers = () => {
  const running = new Map<number, Array<() => void>>()
  const after = (millis: number, act: () => void) => {
    running.set(millis, [...(running.get(millis) ?? []), act])
    return () => void running.delete(millis)
  }
  const timers = { after, now: () => 0, every: () => () => {} } as unknown as Timers
  return { running, timers }
}

const laneOn = (allowHalfOpen: boolean) => {
  const { log, socket } = fakeSocket(allowHalfOpen)
  const { running, timers } = fakeTimers()
  const ends: Array<EndReason | "half"> = []
  const host = {
    frames: () => {},
    received: () => {},
    deferTurn: () => {},
    timers,
    peerEnded: () => void ends.push("half"),
    closed: (_lane: SocketLane, reason: EndReason) => void ends.push(reason)
  } as unknown as LaneHost
  const lane = new SocketLane(host, socket as unknown as Connection, framer, {}, limits, false)
  return { ends, lane, log, running, socket }
}

describe("a lane that closes in order", () => {
  it("is cut when its peer does not end its side in time", () => {
    const { ends, lane, log, running } = laneOn(false)
    lane.close("stopped", true)
    assert.deepStrictEqual(log, ["end"])
    assert.deepStrictEqual([...running.keys()], [limits.closeWithinMs])
    for (const act of running.get(limits.closeWithinMs)!) act()
    assert.deepStrictEqual(log, ["end", "destroy"])
    assert.deepStrictEqual([ends, running.size], [[{ kind: "stopped" }], 0])
  })
})

describe("a half-open lane", () => {
  it("whose peer ends at a frame's boundary stays open for sending", () => {
    const { ends, lane, log, socket } = laneOn(true)
    lane.read(new Uint8Array(4), 0, 4, 100)
    socket.emit("end")
    assert.deepStrictEqual([ends, log], [["half"], []])
  })

  it("whose peer ends within a frame ends with the bytes that came of it", () => {
    const { ends, lane, log, socket } = laneOn(true)
    lane.read(new Uint8Array(7), 0, 7, 100)
    socket.emit("end")
    assert.deepStrictEqual(log, ["destroy"])
    assert.deepStrictEqual(ends, [{ kind: "peer-closed", missing: 3 }])
  })
})

describe("a connection that is opened", () => {
  const opening = () => {
    const { log, socket } = fakeSocket(false)
    const { running, timers } = fakeTimers()
    const answers: Array<string> = []
    const platform = {
      timers,
      sockets: {
        connectSocket: () => socket,
        peerOf: () => ({ address: "", port: 0 }),
        startReading: () => {}
      },
      prepare: (_job: unknown, prepared: (ready: object) => void) =>
        prepared({ framer, rereads: false })
    } as unknown as Platform
    const events = {
      opened: () => void answers.push("opened"),
      failed: () => void answers.push("failed"),
      closed: () => {}
    } as unknown as HostEvents
    const host = new SocketHost(events, platform)
    const endpoint = { host: "127.0.0.1", port: 1 }
    const setup = { framer: "", options: undefined, limits, tls: undefined, halfOpen: false }
    host.open(1, { ...setup, kind: "connect", endpoint })
    return { answers, log, running, socket }
  }

  it("has no time limit left behind", () => {
    const { answers, running, socket } = opening()
    assert.deepStrictEqual([...running.keys()], [limits.openWithinMs])
    socket.emit("connect")
    assert.deepStrictEqual([answers, running.size], [["opened"], 0])
  })

  it("fails when it is not open in time", () => {
    const { answers, log, running } = opening()
    for (const act of running.get(limits.openWithinMs)!) act()
    assert.deepStrictEqual([answers, log], [["failed"], ["destroy"]])
  })
})

describe("a listener of several threads", () => {
  it("has ended once every thread has ended its share", () => {
    const shares: Array<Opener> = []
    const cancelled: Array<number> = []
    const thread = () => ({
      isParked: false,
      open: (opener: Opener) => shares.push(opener),
      cancel: (job: number) => void cancelled.push(job),
      isListening: () => false
    })
    const drivers = [thread(), thread()] as unknown as ReadonlyArray<WorkerDriver>
    const listeners = new Listeners(thread() as unknown as MainThreadDriver, () => drivers)
    const answers: Array<string> = []
    const opener = {
      job: { kind: "listen", endpoint: { host: "127.0.0.1", port: 0 }, reusePort: true },
      listening: (_address: string, port: number) => void answers.push(`listening ${port}`),
      failed: () => void answers.push("ended")
    } as unknown as Opener
    const { cancel } = listeners.listen(opener, true)
    shares[0]!.listening("127.0.0.1", 7)
    shares[1]!.listening("127.0.0.1", 7)
    assert.deepStrictEqual([shares.length, answers], [2, ["listening 7"]])
    cancel()
    assert.deepStrictEqual(cancelled, [1, 2])
    const closed = { step: "listen", code: "", detail: "closed" } as const
    shares[0]!.failed(closed)
    assert.deepStrictEqual(answers, ["listening 7"])
    shares[1]!.failed(closed)
    assert.deepStrictEqual(answers, ["listening 7", "ended"])
  })
})
