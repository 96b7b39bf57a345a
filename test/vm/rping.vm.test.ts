/**
 * Goal: our frames and our reading of theirs are what Linux's software iWARP means by them.
 * Method: rping and ucmatose of rdma-core talk to our peer, in both roles and with all that can be
 * negotiated. rping's server reads the client's memory and writes it back; ucmatose only sends.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Cause, causeOf } from "../../src/schema/iwarp/Terminate.ts"
import { guest, host, Machine, type Methods, onMachine } from "./machine.ts"
import { connect, type Connection, listen, type Registered, type Remote } from "./peer.ts"

const port = 7174

/** Tells rping where memory is. */
const advertise = ({ address, length, stag }: Remote): Uint8Array => {
  const message = new DataView(new ArrayBuffer(16))
  message.setBigUint64(0, address)
  message.setUint32(8, stag)
  message.setUint32(12, length)
  return new Uint8Array(message.buffer)
}

const advertised = (message: Uint8Array): Remote => {
  const view = new DataView(message.buffer, message.byteOffset, message.length)
  return { address: view.getBigUint64(0), stag: view.getUint32(8), length: view.getUint32(12) }
}

/** rping prints what it got as text up to the first zero. */
const fill = ({ bytes, length }: Registered, round: number): string => {
  const text = `round ${round}: `.padEnd(length - 1, "the quick brown fox ")
  bytes.set(Buffer.from(`${text}\0`, "latin1"))
  return text
}

/** What `rping -c` does: the server reads `source` and writes it into `sink`. */
const pings = Effect.fnUntraced(function* (peer: Connection, rounds: number, length: number) {
  const [source, sink] = [peer.register(length), peer.register(length)]
  const texts: Array<string> = []
  for (let round = 0; round < rounds; round++) {
    texts.push(fill(source, round))
    yield* peer.send(advertise(source))
    yield* peer.receive
    yield* peer.send(advertise(sink))
    yield* peer.receive
    assert.deepStrictEqual(sink.bytes, source.bytes)
  }
  return texts
})

/** What `rping -s` does with a client that ends the conversation when it has enough. */
const pongs = Effect.fnUntraced(function* (peer: Connection, rounds: number) {
  const buffer = peer.register(65536)
  const texts: Array<string> = []
  for (let round = 0; round < rounds; round++) {
    const source = advertised(yield* peer.receive)
    yield* peer.read({ ...buffer, length: source.length }, source)
    const data = buffer.bytes.slice(0, source.length)
    texts.push(Buffer.from(data.subarray(0, data.indexOf(0))).toString("latin1"))
    yield* peer.send(new Uint8Array(16))
    const sink = advertised(yield* peer.receive)
    yield* peer.write(data, sink)
    yield* peer.send(new Uint8Array(16))
  }
  return texts
})

const lines = (prefix: string, texts: ReadonlyArray<string>) =>
  texts.map((text) => `${prefix}${text}\n`).join("")

const served = (program: string, at: number) =>
  Effect.flatMap(Machine, ({ serve }) => serve(program, at))

const ours = (it: Methods) => {
  const rping = (options = "") => served(`rping -s -v ${options} -a ${guest} -p ${port}`, port)

  for (const ready of ["write", "read", "message"] as const) {
    for (const crc of [true, false]) {
      it.effect(`pings; ready by ${ready}, CRC ${crc ? "on" : "off"}`, () =>
        Effect.gen(function* () {
          const { port, server } = yield* rping()
          const peer = yield* connect({ port, ready, crc })
          assert.strictEqual(peer.crc, crc)
          const texts = yield* pings(peer, 3, 64)
          yield* peer.close
          const { output } = yield* Fiber.join(server)
          assert.include(output, lines("server ping data: ", texts))
        })
      )
    }
  }

  it.effect("pings; with messages of many segments", () =>
    Effect.gen(function* () {
      const { port } = yield* rping("-S 65000")
      yield* pings(yield* connect({ port }), 2, 65000)
    })
  )

  for (const revision of [1, 2] as const) {
    for (const crc of [true, false]) {
      // Who speaks revision 1 says nothing of reads, so siw allows none: rping cannot be used.
      it.effect(`exchanges messages; MPA revision ${revision}, CRC ${crc ? "on" : "off"}`, () =>
        Effect.gen(function* () {
          const { port, server } = yield* served("ucmatose -C 20 -S 1000", 7471)
          const peer = yield* connect({ port, revision, crc })
          assert.strictEqual(peer.crc, crc)
          for (let k = 0; k < 20; k++) yield* peer.send(new Uint8Array(1000))
          for (let k = 0; k < 20; k++) assert.strictEqual((yield* peer.receive).length, 1000)
          yield* peer.close
          const { output, status } = yield* Fiber.join(server)
          assert.include(output, "data transfers complete")
          assert.strictEqual(status, 0, output)
        })
      )
    }
  }

  it.effect("hears why it is cut off for writing where it may not", () =>
    Effect.gen(function* () {
      const { port } = yield* rping()
      const peer = yield* connect({ port })
      yield* pings(peer, 1, 64)
      yield* peer.write(new Uint8Array(64), { stag: 0xdeadbe00, address: 0n, length: 64 })
      const { terminate } = yield* Effect.flip(peer.receive)
      const { code, layer, order, type } = terminate!
      assert.strictEqual(causeOf(layer, type, code), Cause.taggedInvalidStag)
      // siw builds the header from bit fields, which lie the other way round on this processor.
      assert.strictEqual(order, "swapped")
    })
  )

  it.effect("is cut off for a wrong checksum", () =>
    Effect.gen(function* () {
      const { port, server } = yield* rping()
      const peer = yield* connect({ port })
      const texts = yield* pings(peer, 1, 64)
      peer.spoil()
      yield* peer.send(advertise(peer.register(64)))
      yield* Effect.flip(peer.receive)
      const { output } = yield* Fiber.join(server)
      assert.strictEqual(output.split("server ping data: ").length, 2)
      assert.include(output, lines("server ping data: ", texts))
    })
  )
}

const theirs = (it: Methods) => {
  const ping = (options: string) =>
    Effect.flatMap(Machine, ({ start }) => start(`rping -c -v -V -a ${host} ${options}`))

  for (const crc of [true, false]) {
    // siw never asks for CRCs, but does as the reply says.
    it.effect(`pings; CRC ${crc ? "on, as we want it" : "off"}`, () =>
      Effect.gen(function* () {
        const { accept, port } = yield* listen({ crc })
        const client = yield* ping(`-C 3 -p ${port}`)
        const peer = yield* accept
        assert.strictEqual(peer.crc, crc)
        const texts = yield* pongs(peer, 3)
        const { output, status } = yield* Fiber.join(client)
        assert.include(output, lines("ping data: ", texts))
        assert.strictEqual(status, 0)
      })
    )
  }

  it.effect("pings; with messages of many segments, and private data in the reply", () =>
    Effect.gen(function* () {
      const { accept, port } = yield* listen({ privateData: new Uint8Array(251).fill(7) })
      const client = yield* ping(`-C 2 -S 65000 -p ${port}`)
      yield* pongs(yield* accept, 2)
      assert.strictEqual((yield* Fiber.join(client)).status, 0)
    })
  )

  it.effect("is told that we reject it", () =>
    Effect.gen(function* () {
      const { accept, port } = yield* listen({ reject: new Uint8Array([1, 2, 3]) })
      const client = yield* ping(`-C 1 -p ${port}`)
      const { why } = yield* Effect.flip(accept)
      assert.strictEqual(why._tag, "Rejected")
      const { output, status } = yield* Fiber.join(client)
      assert.include(output, "RDMA_CM_EVENT_REJECTED")
      assert.notStrictEqual(status, 0)
    })
  )

  it.effect("takes no data that are not what it sent", () =>
    Effect.gen(function* () {
      const { accept, port } = yield* listen()
      const client = yield* ping(`-C 1 -p ${port}`)
      const peer = yield* accept
      advertised(yield* peer.receive)
      yield* peer.send(new Uint8Array(16))
      const sink = advertised(yield* peer.receive)
      yield* peer.write(new Uint8Array(sink.length).fill(66), sink)
      yield* peer.send(new Uint8Array(16))
      const { output, status } = yield* Fiber.join(client)
      assert.include(output, "data mismatch!")
      assert.notStrictEqual(status, 0)
    })
  )
}

onMachine("siw", (it) => {
  describe("as a server, with our client", () => ours(it))
  describe("as a client, with our server", () => theirs(it))
})
