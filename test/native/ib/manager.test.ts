/**
 * Goal: each identifier of the connection manager is destroyed once, before its channel, and is not
 * called with afterwards, whatever its users do while the device is closed.
 * Method: the manager on libraries that are written here, whose calls end when the test says so.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Block } from "../../../src/native/ib/block.ts"
import { ControlQueue } from "../../../src/native/ib/control.ts"
import { constants } from "../../../src/native/ib/layout.ts"
import type { Libraries } from "../../../src/native/ib/library.ts"
import { Manager, type ManagerEvent, type ManagerId } from "../../../src/native/ib/manager.ts"

const channel = 1

/** Libraries whose calls are noted, and end in their order when `end` is called. */
const scripted = () => {
  const calls: Array<string> = []
  const open: Array<() => void> = []
  let last = 100
  const libraries = {
    koffi: { node: { poll: () => ({ close: () => calls.push("stop watching") }) } },
    addressOf: () => 0,
    uint32At: () => 0,
    now: () => -1,
    later: (name: string, pointer: number, block?: Block) => {
      calls.push(`${name} ${pointer}`)
      if (name !== "rdma_create_id") return new Promise((done) => open.push(() => done(0)))
      block!.view.setUint32(0, ++last, true)
      return Promise.resolve(0)
    }
  } as unknown as Libraries
  return { calls, libraries, end: () => open.shift()?.() }
}

const event: ManagerEvent = {
  type: constants.RDMA_CM_EVENT_DISCONNECTED,
  status: 0,
  request: undefined,
  privateData: new Uint8Array(0),
  responderResources: 0,
  initiatorDepth: 0
}

/** Lets all jobs go on that wait for nothing else. */
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** A manager with two identifiers, of which the first one is being destroyed as it is closed. */
const closing = Effect.gen(function* () {
  const script = scripted()
  const control = new ControlQueue()
  const manager = new Manager(script.libraries, control, channel)
  const [first, second] = yield* control.run(async () => [
    await manager.create(),
    await manager.create()
  ])
  script.calls.length = 0
  manager.close()
  yield* turn
  assert.deepStrictEqual(script.calls, ["rdma_destroy_id 101"])
  const rest = Effect.gen(function* () {
    for (let jobs = 0; jobs < 4; jobs++) {
      script.end()
      yield* turn
    }
    yield* control.idle
    return script.calls
  })
  return { first: first!, second: second!, rest }
})

const inOrder = [
  "rdma_destroy_id 101",
  "rdma_destroy_id 102",
  "stop watching",
  "rdma_destroy_event_channel 1"
]

for (const [what, act] of [
  ["nothing happens", () => undefined],
  ["one is destroyed by its user", (id) => id.destroy()],
  ["both are destroyed again", (id, other) => [id, other, id, other].map((one) => one.destroy())],
  ["one says goodbye", (id) => id.tell("rdma_disconnect")],
  [
    "one hears that its peer is gone",
    (id) => {
      id.onEvent = () => id.destroy()
      id.receive(event)
    }
  ]
] as ReadonlyArray<readonly [string, (id: ManagerId, other: ManagerId) => unknown]>) {
  it.live(`identifiers of a manager that is closed are destroyed once when ${what}`, () =>
    Effect.gen(function* () {
      const { first, rest, second } = yield* closing
      act(second, first)
      assert.deepStrictEqual(yield* rest, inOrder)
    })
  )
}

it.live("a goodbye that was said before the end of an identifier is called", () =>
  Effect.gen(function* () {
    const { calls, end, libraries } = scripted()
    const control = new ControlQueue()
    const manager = new Manager(libraries, control, channel)
    const id = yield* control.run(() => manager.create())
    id.tell("rdma_disconnect")
    id.destroy()
    id.tell("rdma_disconnect")
    for (let jobs = 0; jobs < 2; jobs++) {
      yield* turn
      end()
    }
    yield* control.idle
    assert.deepStrictEqual(calls.slice(1), ["rdma_disconnect 101", "rdma_destroy_id 101"])
  })
)
