/**
 * Goal: what a turn sends is posted as one chain, of which the device is told once and whose last
 * request alone makes a completion; that completion ends all of the chain, in order.
 * Method: a port over a queue pair and a completion queue of the test's own. The twins are a chain
 * that finds no more buffers, and one that fails in its middle.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { CompletionRouter } from "../../../src/actors/rdma/CompletionRouter.ts"
import { MessagePort, type PortUser } from "../../../src/actors/rpc/internal/messagePort.ts"
import type {
  CompletionBatch,
  CompletionQueue,
  Status
} from "../../../src/native/verbs/Completion.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import type { Region } from "../../../src/native/verbs/Region.ts"
import type { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"

interface Post {
  readonly id: number
  readonly signalled: boolean
  readonly more: boolean
  readonly text: string
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A port with so many buffers, what was posted, and a way to end it. */
const setup = (buffers: number, turn: (port: MessagePort) => void = () => undefined) => {
  const ended: Array<{ readonly id: number; readonly status: Status }> = []
  const completions: CompletionQueue = {
    capacity: 4_096,
    reserved: 0,
    poll: (batch: CompletionBatch) => {
      const some = ended.splice(0, batch.limit)
      for (const [index, end] of some.entries()) Object.assign(batch.at(index), end)
      return (batch.count = some.length)
    },
    ready: Effect.never,
    completions: Stream.empty
  }
  const bytes = new Uint8Array(new SharedArrayBuffer(64 * buffers))
  const region = { bytes, length: bytes.length } as unknown as Region
  const posts: Array<Post> = []
  const queuePair = {
    get freeSendSlots(): number {
      return buffers - posts.length
    },
    post: ({ id, more, scatterList, signalled }: SendRequest) => {
      const { length, offset } = scatterList.at(0)
      const text = new TextDecoder().decode(bytes.slice(offset, offset + length))
      posts.push({ id, more, signalled, text })
      return "accepted"
    }
  } as unknown as QueuePair
  const failures: Array<string> = []
  const user: PortUser = {
    received: () => undefined,
    turn: () => turn(port),
    failed: (detail) => void failures.push(detail)
  }
  const router = new CompletionRouter(completions)
  const places = { region, bytes: 64, count: buffers }
  const port: MessagePort = new MessagePort({
    router,
    queuePair,
    receives: places,
    sends: places,
    user
  })
  const end = (index: number, status: Status = "success"): void => {
    ended.push({ id: posts[index]!.id, status })
    posts.splice(0, index + 1)
    router.drain()
  }
  return { end, failures, port, posts, router }
}

const shapes = (posts: ReadonlyArray<Post>) =>
  posts.map(
    ({ more, signalled, text }) => `${text}${signalled ? " signalled" : ""}${more ? " more" : ""}`
  )

describe("the messages of a turn", () => {
  const sendThree = (log: Array<string>) => {
    let isFirst = true
    return (port: MessagePort) => {
      if (!isFirst) return
      isFirst = false
      for (const text of ["a", "b", "c"]) {
        port.send(bytesOf(text), 0, (status) => void log.push(`${text} ${status}`))
      }
    }
  }

  it("are one chain, of which the last one alone makes a completion", () => {
    const log: Array<string> = []
    const { end, port, posts } = setup(8, sendThree(log))
    port.wake()
    assert.deepStrictEqual(shapes(posts), ["a more", "b more", "c signalled"])
    end(2)
    assert.deepStrictEqual(log, ["a success", "b success", "c success"])
  })

  it("wait for buffers behind a chain whose last one makes a completion", () => {
    const log: Array<string> = []
    const { end, port, posts } = setup(2, sendThree(log))
    port.wake()
    assert.deepStrictEqual(shapes(posts), ["a more", "b signalled"])
    end(1)
    assert.deepStrictEqual(shapes(posts), ["c signalled"])
    end(0)
    assert.deepStrictEqual(log, ["a success", "b success", "c success"])
  })

  it("end as they ended, if the chain fails in its middle", () => {
    const log: Array<string> = []
    const { end, failures, port } = setup(8, sendThree(log))
    port.wake()
    end(1, "retry-exceeded")
    end(0, "flushed")
    assert.deepStrictEqual(log, ["a success", "b retry-exceeded", "c flushed"])
    assert.lengthOf(failures, 1)
  })

  it("leave at once if no turn is under way", () => {
    const { port, posts } = setup(8)
    port.send(bytesOf("alone"))
    assert.deepStrictEqual(shapes(posts), ["alone signalled"])
  })
})

describe("a turn", () => {
  it("G20: finds room for as many messages as have a place, and again when those have left", () => {
    let turns = 0
    const { end, port, posts } = setup(2, (port) => {
      turns++
      for (let sent = 0; port.hasRoom && sent < 5; sent++) port.send(bytesOf(`${turns}`))
    })
    port.wake()
    assert.deepStrictEqual(shapes(posts), ["1 more", "1 signalled"])
    assert.isFalse(port.hasRoom)
    end(1)
    assert.deepStrictEqual(shapes(posts), ["2 more", "2 signalled"])
  })

  it("C1: is followed by another one if it was asked for meanwhile", () => {
    let turns = 0
    const { port, posts } = setup(8, (port) => {
      turns++
      port.send(bytesOf(`${turns}`))
      if (turns < 3) port.wake()
    })
    port.wake()
    assert.deepStrictEqual(shapes(posts), ["1 more", "2 more", "3 signalled"])
  })
})

describe("a message that cannot be written", () => {
  it("F2: ends its connection instance, and those behind it are flushed with it", () => {
    const { failures, port, posts } = setup(8)
    const status: Array<string> = []
    const broken = {
      write: () => {
        throw new Error("no")
      }
    }
    port.send(broken, 0, (one) => void status.push(one))
    assert.deepStrictEqual([status, failures], [["flushed"], ["defect: no"]])
    assert.lengthOf(posts, 0)
  })
})
