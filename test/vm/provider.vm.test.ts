/**
 * Goal: the software iWARP provider talks to Linux's own, in both roles and in all that it can
 * agree upon.
 * Method: rping and ucmatose of rdma-core against a queue pair of ours. rping's server reads the
 * client's memory and writes it back, and prints what it got; ucmatose only sends.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { ConnectRejected } from "../../src/native/verbs/VerbsError.ts"
import { privateDataPortable } from "../../src/schema/iwarp/Mpa.ts"
import { Cause } from "../../src/schema/iwarp/Terminate.ts"
import { end, provided, type Remote } from "./end.ts"
import { guest, host, Machine, type Methods, onMachine } from "./machine.ts"

const port = 7176

type End = Effect.Success<typeof end>

/** What rping answers with. */
const goOn = new Uint8Array(16)

/** Tells rping where memory is. */
const advertise = ({ buffer, send }: End, length: number) => {
  const message = new DataView(new ArrayBuffer(16))
  message.setBigUint64(0, BigInt(buffer.address))
  message.setUint32(8, buffer.remoteKey)
  message.setUint32(12, length)
  return send(new Uint8Array(message.buffer))
}

const advertised = ({ receive }: End) =>
  Effect.map(receive, (message): Remote => {
    const view = new DataView(message.buffer)
    const address = Number(view.getBigUint64(0))
    return { address, key: view.getUint32(8), length: view.getUint32(12) }
  })

/** The text in the buffer, up to the first zero, as rping prints it. */
const textIn = ({ buffer }: End): string => {
  const bytes = buffer.bytes.slice()
  return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString("latin1")
}

/** What `rping -c` does: the server reads the buffer, and writes it back. */
const pings = Effect.fnUntraced(function* (own: End, rounds: number, length: number) {
  const texts: Array<string> = []
  for (let round = 0; round < rounds; round++) {
    const text = `round ${round}: `.padEnd(length - 1, "the quick brown fox ")
    own.buffer.bytes.set(Buffer.from(`${text}\0`, "latin1"))
    yield* advertise(own, length)
    yield* own.receive
    own.buffer.bytes.fill(0)
    yield* advertise(own, length)
    yield* own.receive
    assert.strictEqual(textIn(own), text)
    texts.push(text)
  }
  return texts
})

/** What `rping -s` does with a client that ends the conversation when it has enough. */
const pongs = Effect.fnUntraced(function* (own: End, rounds: number) {
  const texts: Array<string> = []
  for (let round = 0; round < rounds; round++) {
    yield* own.move("read", yield* advertised(own))
    texts.push(textIn(own))
    yield* own.send(goOn)
    yield* own.move("write", yield* advertised(own))
    yield* own.send(goOn)
  }
  return texts
})

const lines = (prefix: string, texts: ReadonlyArray<string>) =>
  texts.map((text) => `${prefix}${text}\n`).join("")

const served = (program: string, at: number) =>
  Effect.flatMap(Machine, ({ serve }) => serve(program, at))
const rping = (options = "") => served(`rping -s -v ${options} -a ${guest} -p ${port}`, port)

/** Whether it waits for a signal before its first message, or may not speak before our first. */
const starts = [
  ["the signal", true],
  ["the first message", false]
] as const

const ours = (it: Methods) => {
  for (const [what, peerToPeer] of starts) {
    for (const crc of [true, false]) {
      it.effect(`pings; ready by ${what}, CRC ${crc ? "on" : "off"}`, () =>
        Effect.gen(function* () {
          const { port, server } = yield* rping()
          const own = yield* end
          const connection = yield* own.connect(port)
          const texts = yield* pings(own, 3, 64)
          yield* connection.disconnect
          const { output } = yield* Fiber.join(server)
          assert.include(output, lines("server ping data: ", texts))
        }).pipe(provided({ crc, peerToPeer }))
      )
    }
  }

  for (const segmentBytes of [undefined, 1448]) {
    it.effect(`pings; with messages of many segments of ${segmentBytes ?? "any"} bytes`, () =>
      Effect.gen(function* () {
        const { port } = yield* rping("-S 65000")
        const own = yield* end
        yield* own.connect(port)
        yield* pings(own, 2, 65_000)
      }).pipe(provided({ segmentBytes }))
    )
  }

  for (const revision of [1, 2] as const) {
    for (const crc of [true, false]) {
      // Who speaks revision 1 says nothing of reads, so siw allows none: rping cannot be used.
      it.effect(`exchanges messages; MPA revision ${revision}, CRC ${crc ? "on" : "off"}`, () =>
        Effect.gen(function* () {
          const { port, server } = yield* served("ucmatose -C 20 -S 1000", 7471)
          const own = yield* end
          const connection = yield* own.connect(port)
          for (let k = 0; k < 20; k++) yield* own.send(new Uint8Array(1000))
          for (let k = 0; k < 20; k++) assert.strictEqual((yield* own.receive).length, 1000)
          yield* connection.disconnect
          const { output, status } = yield* Fiber.join(server)
          assert.include(output, "data transfers complete")
          assert.strictEqual(status, 0, output)
        }).pipe(provided({ crc, revision }))
      )
    }
  }

  it.effect("hears why it is cut off for writing where it may not", () =>
    Effect.gen(function* () {
      const { port } = yield* rping()
      const own = yield* end
      const fatal = yield* own.device.events.pipe(
        Stream.filter((event) => event._tag === "QueuePairFatal"),
        Stream.runHead,
        Effect.forkChild({ startImmediately: true })
      )
      const connection = yield* own.connect(port)
      yield* pings(own, 1, 64)
      yield* own.move("write", { key: 0xdeadbe00, address: 0, length: 64 })
      assert.strictEqual(yield* connection.disconnected, "failed")
      // siw builds the header from bit fields, which lie the other way round on this processor.
      const event = yield* Fiber.join(fatal)
      assert.include(JSON.stringify(event), Cause.taggedInvalidStag.name)
    }).pipe(provided())
  )

  it.effect("is told that nobody listens", () =>
    Effect.gen(function* () {
      const machine = yield* Machine
      const own = yield* end
      const error = yield* Effect.flip(own.connect(yield* machine.forward(port + 1)))
      assert.isTrue(error instanceof ConnectRejected || error._tag === "Unreachable")
    }).pipe(provided())
  )
}

const theirs = (it: Methods) => {
  const ping = (options: string) =>
    Effect.flatMap(Machine, ({ start }) => start(`rping -c -v -V -a ${host} ${options}`))

  for (const crc of [true, false]) {
    // siw never asks for CRCs, but does as the reply says.
    it.effect(`pings; CRC ${crc ? "on, as we want it" : "off"}`, () =>
      Effect.gen(function* () {
        const own = yield* end
        const { accept, port } = yield* own.listen
        const client = yield* ping(`-C 3 -p ${port}`)
        yield* accept()
        const texts = yield* pongs(own, 3)
        const { output, status } = yield* Fiber.join(client)
        assert.include(output, lines("ping data: ", texts))
        assert.strictEqual(status, 0)
      }).pipe(provided({ crc }))
    )
  }

  it.effect("pings; with messages of many segments, and private data in the reply", () =>
    Effect.gen(function* () {
      const own = yield* end
      const { accept, port } = yield* own.listen
      const client = yield* ping(`-C 2 -S 65000 -p ${port}`)
      yield* accept({ privateData: new Uint8Array(privateDataPortable).fill(7) })
      yield* pongs(own, 2)
      assert.strictEqual((yield* Fiber.join(client)).status, 0)
    }).pipe(provided())
  )

  it.effect("is told that we reject it", () =>
    Effect.gen(function* () {
      const own = yield* end
      const { port, reject } = yield* own.listen
      const client = yield* ping(`-C 1 -p ${port}`)
      yield* reject(new Uint8Array([1, 2, 3]))
      const { output, status } = yield* Fiber.join(client)
      assert.include(output, "RDMA_CM_EVENT_REJECTED")
      assert.notStrictEqual(status, 0)
    }).pipe(provided())
  )

  it.effect("takes no data that are not what it sent", () =>
    Effect.gen(function* () {
      const own = yield* end
      const { accept, port } = yield* own.listen
      const client = yield* ping(`-C 1 -p ${port}`)
      yield* accept()
      yield* advertised(own)
      yield* own.send(goOn)
      own.buffer.bytes.fill(66)
      yield* own.move("write", yield* advertised(own))
      yield* own.send(goOn)
      const { output, status } = yield* Fiber.join(client)
      assert.include(output, "data mismatch!")
      assert.notStrictEqual(status, 0)
    }).pipe(provided())
  )
}

onMachine("the provider and siw", (it) => {
  describe("as a server, with our client", () => ours(it))
  describe("as a client, with our server", () => theirs(it))
})
