/**
 * Goal: the pure parts that providers share keep their laws: states, keys, bounds, accounts of work
 * queues, GIDs, order of release; and posting allocates nothing.
 * Method: tables, and properties against small models; no provider runs.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { DeviceLimits } from "../../../src/native/verbs/Device.ts"
import { LimitExceeded } from "../../../src/native/verbs/VerbsError.ts"
import type { ConnectContext } from "../../../src/native/verbs/provider/connect.ts"
import type { ProviderConnection } from "../../../src/native/verbs/provider/connection.ts"
import { create } from "../../../src/native/verbs/provider/create.ts"
import { ProviderRequest } from "../../../src/native/verbs/provider/listen.ts"
import {
  canReceive,
  canTransition,
  canPostReceive,
  canSend,
  validateRanges,
  rnrTimerMs,
  type State,
  states,
  timeoutMs
} from "../../../src/native/verbs/QueuePairState.ts"
import type { Access } from "../../../src/native/verbs/Region.ts"
import { AddressSpace } from "../../../src/native/verbs/software/addressSpace.ts"
import { SoftwareCompletionQueue } from "../../../src/native/verbs/software/completions.ts"
import { Resource, type ResourceKind } from "../../../src/native/verbs/provider/resources.ts"
import { validateRegion } from "../../../src/native/verbs/provider/domain.ts"
import { KeyTable } from "../../../src/native/verbs/software/keyTable.ts"
import {
  MemoryRegion,
  locateAccess,
  AccessRefusal
} from "../../../src/native/verbs/software/memory.ts"
import { copies, ReceiveQueue, SendQueue } from "../../../src/native/verbs/software/workQueues.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { canonicalHost } from "../../../src/schema/Address.ts"
import * as Gid from "../../../src/schema/Gid.ts"

describe("states", () => {
  it("the table of steps", () => {
    const table = {
      reset: "reset init err",
      init: "reset init rtr err",
      rtr: "reset rts err",
      rts: "reset rts err",
      err: "reset err"
    }
    for (const from of states) {
      const possible = states.filter((to) => canTransition(from, to))
      assert.strictEqual(possible.join(" "), table[from])
    }
  })

  it("what is possible in which state", () => {
    const which = (may: (state: State) => boolean) => states.filter(may).join(" ")
    assert.strictEqual(which(canSend), "rts err")
    assert.strictEqual(which(canPostReceive), "init rtr rts err")
    assert.strictEqual(which(canReceive), "rtr rts")
  })

  it("an attribute out of its range is named", () => {
    const path = { gid: Gid.fromAddress("10.0.0.1")! }
    const rtr = { to: "rtr", path, mtu: 1024, peer: 17 } as const
    assert.isUndefined(validateRanges({ to: "init" }))
    assert.isUndefined(validateRanges(rtr))
    assert.isUndefined(validateRanges({ to: "rts", timeout: 0, retries: 7, rnrRetries: undefined }))
    const named = [
      validateRanges({ to: "init", port: 0 }),
      validateRanges({ to: "init", pkeyIndex: 65536 }),
      validateRanges({ ...rtr, peer: -1 }),
      validateRanges({ ...rtr, minRnrTimer: 32 }),
      validateRanges({ ...rtr, path: { ...path, gidIndex: 256 } }),
      validateRanges({ ...rtr, path: { gid: "0".repeat(32) as Gid.Gid } }),
      validateRanges({ to: "rts", firstSequence: 2 ** 24 }),
      validateRanges({ to: "rts", outboundReads: Number.NaN })
    ].map((found) => found?.attribute)
    const expected = "port pkeyIndex peer minRnrTimer gidIndex gid firstSequence outboundReads"
    assert.strictEqual(named.join(" "), expected)
  })

  it("codes of times", () => {
    assert.deepStrictEqual([0, 14].map(timeoutMs), [Infinity, 67.108864])
    const codes = [0, 1, 4, 5, 12, 13, 14, 30, 31]
    const millis = [655.36, 0.01, 0.04, 0.06, 0.64, 0.96, 1.28, 327.68, 491.52]
    assert.deepStrictEqual(codes.map(rnrTimerMs), millis)
  })
})

describe("GIDs", () => {
  it("of addresses, and back", () => {
    const mapped = "00000000000000000000ffffc0a8640a"
    assert.strictEqual(Gid.fromAddress("192.168.100.10"), mapped)
    assert.strictEqual(Gid.fromAddress("::ffff:192.168.100.10"), mapped)
    assert.strictEqual(Gid.toAddress(mapped as Gid.Gid), "192.168.100.10")
    assert.strictEqual(Gid.fromAddress("fe80::1"), `fe80${"0".repeat(27)}1`)
    assert.strictEqual(Gid.fromAddress("::"), "0".repeat(32))
    const long = "2001:0db8:0000:0000:0000:00ff:fe00:0042"
    assert.strictEqual(Gid.fromAddress(long), Gid.fromAddress("2001:DB8::FF:FE00:42"))
  })

  // RFC 5952, section 4: the text of an address that all programs agree on.
  for (const [text, canonical] of [
    ["2001:0DB8:0000:0000:0000:00FF:FE00:0042", "2001:db8::ff:fe00:42"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["10:0:0:a0:0:0:0:0", "10:0:0:a0::"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::ffff:a00:1", "10.0.0.1"]
  ] as const) {
    it(`of ${text} has the address ${canonical}`, () => {
      assert.strictEqual(Gid.toAddress(Gid.fromAddress(text)!), canonical)
      assert.strictEqual(canonicalHost(text), canonical)
    })
  }

  it("a host that is no address stays as it is, and the scope of an address does not count", () => {
    assert.deepStrictEqual(["", "Host-1", "1:2", "fe80:0::1%eth0"].map(canonicalHost), [
      "",
      "Host-1",
      "1:2",
      "fe80::1"
    ])
  })

  it("what is no address has none", () => {
    const texts = ["", "1.2.3", "1.2.3.256", "a.b.c.d", "1::2::3", ":::", "1:2:3:4:5:6:7", "g::"]
    for (const text of [...texts, "1:2:3:4:5:6:7:8:9", "12345::", "host", "1:2:3:4:5:6:7:8::"]) {
      assert.isUndefined(Gid.fromAddress(text), text)
    }
  })

  it.effect.prop("bytes", [Schema.Array(Schema.Int)], ([numbers]) =>
    Effect.sync(() => {
      const bytes = Uint8Array.from({ length: 16 }, (_, index) => numbers[index] ?? 0)
      const gid = Gid.fromBytes(bytes)
      assert.isTrue(Schema.is(Gid.Gid)(gid))
      assert.deepStrictEqual(Gid.toBytes(gid), bytes)
      assert.strictEqual(Gid.fromAddress(Gid.toAddress(gid)), gid)
    })
  )
})

describe("keys", () => {
  it("a key is never 0, never given twice at once, and not the previous one", () => {
    const draws = [0, 7, 7, 7, 8, 7, 9]
    const table = new KeyTable<string>(() => draws.shift()!)
    assert.strictEqual(table.issue("a"), 7)
    assert.strictEqual(table.issue("b"), 8)
    table.void(7)
    assert.strictEqual(table.issue("c", 7), 9)
    assert.deepStrictEqual([table.find(7), table.find(8), table.find(9)], [undefined, "b", "c"])
  })
})

const keys = () => {
  let count = 0
  const draw = () => ++count * 0x1234567
  return {
    local: new KeyTable<MemoryRegion>(draw),
    remote: new KeyTable<MemoryRegion>(draw)
  }
}
const everything = ["local-write", "remote-write", "remote-read", "remote-atomic"] as const

const spec = (length: number, access: ReadonlyArray<Access>) => ({
  memory: new SharedArrayBuffer(length),
  offset: 0,
  length,
  access
})

describe("addresses", () => {
  const drawing = (...draws: ReadonlyArray<number>) => {
    let index = 0
    return new AddressSpace(() => draws[index++ % draws.length]!)
  }

  it("a buffer has one; one that may grow keeps its place", () => {
    const space = drawing(7)
    const [one, two] = [new SharedArrayBuffer(5000), new SharedArrayBuffer(1)]
    const growing = new SharedArrayBuffer(1, { maxByteLength: 8192 })
    assert.deepStrictEqual(
      [one, growing, two, one].map((buffer) => space.of(buffer) / 4096),
      [8, 11, 14, 8]
    )
  })

  it.prop(
    "buffers never touch, and are aligned",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 })))],
    ([sizes]) => {
      const space = drawing(0xffff_ffff)
      let end = 0
      for (const size of sizes) {
        const address = space.of(new SharedArrayBuffer(size))
        assert.isAbove(address, end)
        assert.strictEqual(address % 4096, 0)
        end = address + size
      }
    }
  )

  it("begin anew where numbers end", () => {
    const space = drawing(1, 2)
    const huge = () => ({ maxByteLength: 2 ** 52 }) as SharedArrayBuffer
    const all = Array.from({ length: 3 }, () => space.of(huge()))
    assert.deepStrictEqual(all, [8192, 12_288, 8192])
  })
})

describe("memory", () => {
  it.effect.prop(
    "reach is what arithmetic says",
    [Schema.BigInt, Schema.Int, Schema.Int],
    ([offset, length, base]) =>
      Effect.sync(() => {
        const size = 96
        const address = Math.abs(base) % 2 ** 50
        const region = new MemoryRegion(spec(size, everything), address, 1, keys())
        const bytes = 1 + (Math.abs(length) % 128)
        // Half of all addresses are near the region.
        const to = BigInt.asUintN(
          64,
          offset % 2n === 0n ? BigInt(address) + (offset % 200n) : offset
        )
        const at = locateAccess(
          region,
          1,
          "remoteWrite",
          Number(to >> 32n),
          Number(to & 0xffff_ffffn),
          bytes
        )
        const start = to - BigInt(address)
        const fits = start >= 0n && start + BigInt(bytes) <= BigInt(size)
        if (fits) assert.strictEqual(at, Number(start))
        else assert.isBelow(at, 0)
      })
  )

  it("who may not, gets no place, and the reason", () => {
    const region = new MemoryRegion(spec(64, everything), 4096, 1, keys())
    const plain = new MemoryRegion(spec(64, ["local-write"]), 4096, 1, keys())
    assert.strictEqual(
      locateAccess(undefined, 1, "remoteRead", 0, 4096, 8),
      AccessRefusal.unknownKey
    )
    assert.strictEqual(locateAccess(region, 2, "remoteRead", 0, 4096, 8), AccessRefusal.otherDomain)
    assert.strictEqual(locateAccess(plain, 1, "remoteRead", 0, 4096, 8), AccessRefusal.noRight)
    assert.strictEqual(locateAccess(region, 1, "remoteRead", 0, 4095, 8), AccessRefusal.outside)
    assert.strictEqual(
      locateAccess(region, 1, "remoteRead", 0xffffffff, 0xffffffff, 8),
      AccessRefusal.wraps
    )
    assert.strictEqual(
      locateAccess(region, 1, "remoteAtomic", 0, 4097, 8),
      AccessRefusal.misaligned
    )
    assert.strictEqual(locateAccess(region, 1, "remoteAtomic", 0, 4104, 8), 8)
    // What counts is the alignment in memory, where the region may begin anywhere.
    const odd = new MemoryRegion(
      { ...spec(64, everything), offset: 4, length: 60 },
      4100,
      1,
      keys()
    )
    const places = [4100, 4104].map((low) => locateAccess(odd, 1, "remoteAtomic", 0, low, 8))
    assert.deepStrictEqual(places, [AccessRefusal.misaligned, 4])
  })

  it("what cannot be registered is named", () => {
    const memory = new SharedArrayBuffer(64)
    assert.isUndefined(validateRegion({ memory, offset: 60, length: 4 }))
    const offences = [
      validateRegion({ memory: 0 }),
      validateRegion({ memory: 2 ** 60 }),
      validateRegion({ memory, offset: 64 }),
      validateRegion({ memory, offset: 60, length: 5 }),
      validateRegion({ memory, access: ["remote-atomic"] }),
      validateRegion({ memory, access: ["nosuch" as "remote-read"] })
    ]
    const named = offences.map((found) => found?.attribute)
    assert.deepStrictEqual(named, ["memory", "memory", "length", "length", "access", "access"])
  })
})

/** One operation on a queue, by a number. */
const Operations = Schema.Array(Schema.Int)

describe("work queues", () => {
  it.effect.prop("places and reservations are never lost", [Operations], ([operations]) =>
    Effect.sync(() => {
      const completions = new SoftwareCompletionQueue(7)
      const limits = { scatterEntries: 1, inlineBytes: 0, messageBytes: 100 }
      const told = { queuePair: 1, completions }
      const sends = new SendQueue(4, limits, told, copies.send)
      const receives = new ReceiveQueue(3, limits, told, copies.receive)
      const batch = new CompletionBatch(2)
      const [request, receive] = [new SendRequest(), new ReceiveRequest()]
      let [posted, seen] = [0, 0]
      for (const number of operations) {
        const taken = sends.counters.posted - sends.counters.reclaimed
        const held = receives.counters.posted - receives.counters.reclaimed
        assert.isTrue(taken <= 4 && held <= 3)
        assert.strictEqual(completions.reserved, taken + held)
        request.id = sends.counters.posted
        request.signalled = number % 2 === 0
        const choice = Math.abs(number) % 5
        if (choice === 0 && sends.post(request, "rts") === "accepted") posted += 1
        if (choice === 1 && receives.post(receive, "rts") === "accepted") posted += 1
        if (choice === 2 && sends.counters.outstanding > 0) sends.end("success", 0)
        if (choice === 3 && receives.counters.outstanding > 0) receives.end("receive", "success")
        if (choice === 4) seen += completions.poll(batch)
      }
      sends.flush()
      receives.flush()
      // A queue pair may be released before its last completions are polled, or after that.
      const isEarly = operations.length % 2 === 0
      if (isEarly) for (const queue of [sends, receives]) queue.retire()
      while (completions.poll(batch) > 0) seen += batch.count
      if (!isEarly) for (const queue of [sends, receives]) queue.retire()
      assert.strictEqual(completions.reserved, 0)
      assert.isAtMost(seen, posted)
      assert.strictEqual(sends.counters.doubleEnds + receives.counters.doubleEnds, 0)
    })
  )

  it("an end of work that is not there is counted, and tells nobody", () => {
    const completions = new SoftwareCompletionQueue(4)
    const limits = { scatterEntries: 1, inlineBytes: 0, messageBytes: 100 }
    const sends = new SendQueue(4, limits, { queuePair: 1, completions }, copies.send)
    sends.end("success", 0)
    assert.strictEqual(sends.counters.doubleEnds, 1)
    assert.strictEqual(completions.poll(new CompletionBatch()), 0)
  })

  it.live("who waits goes on at the end of a put, at once, and sees all of it", () =>
    Effect.gen(function* () {
      const completions = new SoftwareCompletionQueue(4)
      const limits = { scatterEntries: 1, inlineBytes: 0, messageBytes: 100 }
      const sends = new SendQueue(4, limits, { queuePair: 1, completions }, copies.send)
      const seen: Array<number> = []
      const wait = Effect.map(completions.ready, () => {
        seen.push(completions.poll(new CompletionBatch()))
      })
      yield* Effect.forkChild(wait, { startImmediately: true })
      for (let posts = 0; posts < 2; posts++) sends.post(new SendRequest(), "rts")
      completions.begin()
      completions.begin()
      sends.end("success", 0)
      sends.end("success", 0)
      completions.end()
      assert.deepStrictEqual(seen, [])
      completions.end()
      assert.deepStrictEqual(seen, [2])
    })
  )

  it("L19: posting and polling allocate nothing", () => {
    const module = fileURLToPath(new URL("../../fixtures/postings.ts", import.meta.url))
    const young = ["--min-semi-space-size=256", "--max-semi-space-size=256"]
    const args = ["--expose-gc", ...young, module]
    const printed = execFileSync(process.execPath, args, { encoding: "utf8" })
    const { bytes, posted } = JSON.parse(printed)
    assert.strictEqual(posted, 2_000_000)
    // The smallest object takes 12 bytes.
    assert.isBelow(bytes / posted, 1)
  })
})

describe("holdings", () => {
  const order: ReadonlyArray<ResourceKind> = [
    "listener",
    "connection",
    "queue pair",
    "region",
    "completion queue",
    "protection domain"
  ]

  it("go in their order, once, whatever was made first", () => {
    const gone: Array<string> = []
    const device = new Resource("device", [], () => gone.push("device"))
    const domain = new Resource("protection domain", [device], () => gone.push("protection domain"))
    const queue = new Resource("completion queue", [device], () => gone.push("completion queue"))
    const make = (sort: ResourceKind, ...owners: ReadonlyArray<Resource>) =>
      new Resource(sort, owners, () => gone.push(sort))
    make("region", domain)
    make("connection", make("queue pair", domain, queue))
    make("listener", device)
    assert.deepStrictEqual(
      order.map((sort) => device.count(sort)),
      [1, 1, 1, 1, 1, 1]
    )
    device.release()
    device.release()
    assert.deepStrictEqual(gone, [...order, "device"])
  })

  it("what two hold goes with the first of them", () => {
    let count = 0
    const device = new Resource("device", [], () => undefined)
    const domain = new Resource("protection domain", [device], () => undefined)
    const queue = new Resource("completion queue", [device], () => undefined)
    const pair = new Resource("queue pair", [domain, queue], () => count++)
    queue.release()
    assert.isTrue(pair.isReleased)
    assert.isFalse(domain.isReleased)
    domain.release()
    assert.strictEqual(count, 1)
  })
})

describe("a request to connect", () => {
  it("is rejected once, and not after it was answered", () => {
    const rejects: Array<number> = []
    const asked = {
      peer: { host: "127.0.0.1", port: 1 },
      privateData: new Uint8Array(0),
      inboundReads: 0,
      outboundReads: 0,
      accept: () => Effect.void,
      reject: ({ length }: Uint8Array) => void rejects.push(length)
    }
    const limits = { backend: { privateData: { connect: 0, accept: 0, reject: 4 } } }
    const parts = limits as unknown as ConnectContext<ProviderConnection>
    const unanswered = new Set<ProviderRequest<ProviderConnection>>()
    const [one, other] = [0, 1].map(() => new ProviderRequest(parts, asked, unanswered))
    unanswered.add(one!)
    for (const request of [one, one, other]) request!.rejectUnsafe(new Uint8Array(5))
    assert.deepStrictEqual(rejects, [4])
  })
})

describe("the limits of a device", () => {
  it.effect("count the resources that exist, and no more of them are created", () =>
    Effect.gen(function* () {
      const limits = { queuePairs: 2, regions: 1, completionQueues: 1 } as DeviceLimits
      const device = new Resource("device", [], () => undefined)
      const created = (kind: ResourceKind) => {
        const resource = Effect.sync(() => new Resource(kind, [device], () => undefined))
        const made = Effect.map(resource, (resource) => ({ resource }))
        return create({ name: "nic", ports: [1], limits }, device, kind, [], made)
      }
      for (const [kind, limit] of [
        ["queue pair", 2],
        ["region", 1],
        ["completion queue", 1]
      ] as const) {
        for (let count = 0; count < limit; count++) yield* created(kind)
        const wanted = limit + 1
        const refused = yield* Effect.flip(created(kind))
        const expected = { device: "nic", resource: `${kind}s`, limit, wanted }
        assert.deepStrictEqual(refused, new LimitExceeded(expected))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("count a resource no more once it is released", () =>
    Effect.gen(function* () {
      const limits = { regions: 1 } as DeviceLimits
      const device = new Resource("device", [], () => undefined)
      const resource = Effect.sync(() => new Resource("region", [device], () => undefined))
      const made = Effect.map(resource, (resource) => ({ resource }))
      const region = create({ name: "nic", ports: [1], limits }, device, "region", [], made)
      for (let count = 0; count < 3; count++) yield* Effect.scoped(region)
      assert.strictEqual(device.count("region"), 0)
    })
  )
})
