/** Demands on keys, rights and bounds: protected memory is not accessed. */
import * as Effect from "effect/Effect"
import type { Status } from "../../../../native/verbs/Completion.ts"
import type { Access, Region } from "../../../../native/verbs/Region.ts"
import type { Opcode } from "../../../../native/verbs/WorkRequest.ts"
import { failureOf, same } from "../contract.ts"
import {
  completions,
  type Connected,
  connected,
  demand,
  ended,
  everything,
  failed,
  post,
  receive,
  work
} from "./rig.ts"

/** An access of a peer that must fail. */
interface Attempt {
  readonly opcode: Opcode
  readonly key: number
  readonly address: number
  readonly length: number
}

/** Lets `a` try, and demands that it fails and that no byte of the region changes. */
const refused = Effect.fnUntraced(function* (
  { a, b }: Connected,
  attempt: Attempt,
  region: Region,
  expected: ReadonlyArray<Status> = ["remote-access"]
) {
  const { address, key, length, opcode } = attempt
  region.bytes.fill(0xee)
  const request = work(a, { id: 1, opcode, length, value: 1n, compare: 0xeeee_eeee_eeee_eeeen })
  yield* post(a, request.remote(key, address))
  yield* post(a, work(a, { id: 2, length: 8 }))
  yield* failed(a)
  yield* failed(b)
  const [first, second] = yield* completions(a, 2)
  const isAnswered = a.capabilities.acknowledges || opcode !== "write"
  if (isAnswered) {
    yield* same(expected.includes(first!.status), true, `status ${first!.status}`)
    yield* same(second!.status, "flushed", "status of what was posted behind it")
  }
  yield* same([first!.id, second!.id], [1, 2], "ends")
  yield* same(
    region.bytes.every((byte) => byte === 0xee),
    true,
    "memory is untouched"
  )
})

/** A region of 64 bytes in the middle of the peer's memory. */
const middle = ({ b }: Connected, access: ReadonlyArray<Access> = everything) => {
  const { memory, offset } = b.region
  return b.domain.register({ memory, offset: offset + 1024, length: 64, access })
}

/** The operations that need a right, and the right. */
const needed: ReadonlyArray<readonly [Opcode, Access]> = [
  ["write", "remote-write"],
  ["read", "remote-read"]
]

const atomics: ReadonlyArray<readonly [Opcode, Access]> = [
  ["fetch-add", "remote-atomic"],
  ["compare-swap", "remote-atomic"]
]

/** Demands that access without the right, in the region or in the queue pair, is refused. */
const withoutRights = function* (operations: ReadonlyArray<readonly [Opcode, Access]>) {
  for (const [opcode, right] of operations) {
    const others = everything.filter((access) => access !== right)
    for (const where of ["region", "queue pair"]) {
      const both = yield* connected(where === "region" ? {} : { access: others })
      const region = yield* middle(both, where === "region" ? others : everything)
      const { address, remoteKey: key } = region
      // Devices call it an invalid request if the queue pair does not take its kind at all.
      const expected = ["remote-access", where === "region" ? "remote-access" : "remote-invalid"]
      const attempt = { opcode, key, address, length: 8 }
      yield* refused(both, attempt, both.b.region, expected as ReadonlyArray<Status>)
    }
  }
}

export const protection = [
  demand("a key that names nothing reaches nothing", function* () {
    for (const [opcode] of needed) {
      const both = yield* connected()
      const { region } = both.b
      const key = (region.remoteKey ^ 0x10101) >>> 0
      yield* refused(both, { opcode, key, address: region.address, length: 8 }, region)
    }
  }),

  demand("a local key is no remote key", function* () {
    const both = yield* connected()
    const { region } = both.b
    const { address, localKey: key } = region
    yield* refused(both, { opcode: "write", key, address, length: 8 }, region)
  }),

  demand("one byte before or after the region is out of reach", function* () {
    for (const [opcode] of needed) {
      for (const [from, length] of [
        [-1, 8],
        [57, 8],
        [64, 1],
        [0, 65]
      ] as const) {
        const both = yield* connected()
        const { address, remoteKey: key } = yield* middle(both)
        yield* refused(both, { opcode, key, address: address + from, length }, both.b.region)
      }
    }
  }),

  demand("an address that wraps around is out of reach", function* () {
    const both = yield* connected()
    const { a, b } = both
    b.region.bytes.fill(0xee)
    const write = work(a, { id: 1, opcode: "write", length: 16 }).remote(b.region.remoteKey, 0)
    yield* post(a, Object.assign(write, { remoteHigh: 0xffff_ffff, remoteLow: 0xffff_fff8 }))
    yield* failed(a)
    yield* same(
      b.region.bytes.every((byte) => byte === 0xee),
      true,
      "memory is untouched"
    )
  }),

  demand("without the right no peer writes or reads", () => withoutRights(needed)),

  demand("without the right no peer adds or swaps", () => withoutRights(atomics), ["atomics"]),

  demand("a key of another protection domain reaches nothing", function* () {
    for (const [opcode] of needed) {
      const both = yield* connected()
      const other = yield* both.b.device.protectionDomain
      const region = yield* other.register({ memory: 64, access: everything })
      const { address, remoteKey: key } = region
      yield* refused(both, { opcode, key, address, length: 8 }, region)
    }
  }),

  demand("a revoked key, an old key and the key of a released region reach nothing", function* () {
    for (const how of ["revoked", "renewed", "released"]) {
      const both = yield* connected()
      const { b } = both
      const region = yield* Effect.scoped(
        Effect.gen(function* () {
          const region = yield* middle(both)
          const { address, remoteKey: key } = region
          if (how === "revoked") yield* region.revoke
          if (how === "renewed") {
            const renewed = region.renewKey()
            yield* same(renewed === key, false, "the key is new")
            if (renewed === 0) yield* region.revoke
          }
          if (how !== "released") {
            yield* refused(both, { opcode: "write", key, address, length: 8 }, b.region)
          }
          return { address, key }
        })
      )
      if (how !== "released") continue
      yield* refused(both, { opcode: "write", ...region, length: 8 }, b.region)
    }
  }),

  demand("a renewed key is as good as the first", function* () {
    const { a, b } = yield* connected()
    for (const id of [1, 2, 3]) {
      yield* b.region.revoke
      yield* same(b.region.remoteKey, 0, "a revoked key")
      const key = b.region.renewKey()
      yield* same(b.region.remoteKey, key, "the new key")
      const write = work(a, { id, opcode: "write", length: 8 })
      yield* post(a, write.remote(key, b.region.address))
      yield* receive(b, id)
      yield* post(a, work(a, { id, length: 8 }))
      yield* ended(b, { id, status: "success" })
    }
  }),

  demand(
    "a send may make a key void, which the receiver learns",
    function* () {
      const both = yield* connected()
      const { a, b } = both
      const lent = yield* middle(both)
      const { address, remoteKey: key } = lent
      yield* receive(b, 1)
      yield* post(a, work(a, { id: 2, opcode: "send-invalidate", invalidate: key, length: 8 }))
      yield* ended(b, { id: 1, kind: "receive", length: 8, invalidated: key })
      yield* ended(a, { id: 2, kind: "send", status: "success" })
      yield* same(lent.remoteKey, 0, "the key")
      yield* refused(both, { opcode: "write", key, address, length: 8 }, b.region)
    },
    ["remoteInvalidate"]
  ),

  demand("work that names memory it may not use fails, and its queue pair", function* () {
    for (const how of ["released", "other domain", "not writable", "too long"]) {
      const { a, b } = yield* connected()
      const domain = how === "other domain" ? yield* a.device.protectionDomain : a.domain
      const access: ReadonlyArray<Access> = how === "not writable" ? [] : ["local-write"]
      const register = domain.register({ memory: 64, access })
      const region = yield* how === "released" ? Effect.scoped(register) : register
      const read = work(a, { id: 1, opcode: "read" })
      read.scatterList.add(region, 0, how === "too long" ? 65 : 64)
      yield* post(a, read.remote(b.region.remoteKey, b.region.address))
      yield* post(a, work(a, { id: 2, length: 8 }))
      yield* ended(a, { id: 1, status: "local-protection" }, how)
      yield* ended(a, { id: 2, status: "flushed" }, how)
    }
  }),

  demand("invalid memory is not registered", function* () {
    const { a } = yield* connected()
    const memory = new SharedArrayBuffer(64)
    for (const options of [
      { memory: 0 },
      { memory, offset: 65 },
      { memory, offset: -1 },
      { memory, offset: 60, length: 5 },
      { memory, length: 1.5 },
      { memory, access: ["remote-write"] as const }
    ]) {
      const failure = yield* failureOf(a.domain.register(options))
      yield* same(failure, "InvalidAttribute", JSON.stringify(options))
    }
  }),

  demand(
    "keys are not to be guessed",
    function* () {
      const { a } = yield* connected()
      const keys: Array<number> = []
      for (let count = 0; count < 200; count++) {
        const region = yield* a.domain.register({ memory: 8, access: everything })
        keys.push(region.remoteKey, region.localKey)
      }
      yield* same(new Set(keys).size, keys.length, "keys that differ")
      const steps = new Set(keys.map((key, index) => (key - (keys[index - 1] ?? 0)) | 0))
      yield* same(steps.size > 350, true, "distances between keys differ too")
      for (let bit = 8; bit < 32; bit++) {
        const ones = keys.filter((key) => ((key >>> bit) & 1) === 1).length
        yield* same(ones > 100 && ones < 300, true, `bit ${bit} is as often 0 as 1`)
      }
    },
    ["randomKeys"]
  )
]
