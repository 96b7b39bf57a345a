/**
 * Goal: lanes speak TLS with the settings that they are given, however they are opened, and refuse
 * what does not meet them.
 * Method: lanes against each other and against `node:tls` over loopback, in workers and on the main
 * thread; what was negotiated is read at both ends.
 */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { fstatSync } from "node:fs"
import type * as net from "node:net"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { IoPool, LaneOptions, TlsSettings } from "../../../src/native/io/IoPool.ts"
import type { Lane } from "../../../src/native/io/Lane.ts"
import { descriptorTo } from "./descriptor.ts"
import * as lab from "./harness.ts"

type Pool = IoPool["Service"]
type On = "worker" | "main"

const places: ReadonlyArray<On> = ["worker", "main"]
const { cert: serverCert, key: serverKey, ...trust } = lab.tlsOf("server")
const server: TlsSettings = { ...trust, cert: serverCert!, key: serverKey! }
const rsa = { cert: lab.pem("server-rsa"), key: lab.pem("server-rsa-key") }
const client = lab.tlsOf("client")

const optionsOf = (on: On, settings: TlsSettings): LaneOptions => ({
  framer: lab.labFramer,
  on,
  tls: settings
})

/** Both ends of a connection that has carried a frame each way; a failure is the result. */
const handshake = (pool: Pool, on: On, ofServer: TlsSettings, ofClient: TlsSettings) =>
  Effect.gen(function* () {
    const listener = yield* pool.listen({ ...optionsOf(on, ofServer), at: lab.loopback })
    const to = { host: "127.0.0.1", port: listener.port }
    const near = yield* pool.connect({ ...optionsOf(on, ofClient), to })
    const far = yield* listener.accept
    yield* exchange(near, far)
    return { near: near.peer.tls!, far: far.peer.tls! }
  }).pipe(Effect.timeout("10 seconds"), Effect.result)

const exchange = Effect.fnUntraced(function* (near: Lane, far: Lane) {
  for (const [from, to] of [
    [near, far],
    [far, near]
  ] as const) {
    yield* lab.send(from, lab.numbered(7, 100))
    assert.deepStrictEqual((yield* lab.takeCount(to, 1)).map(lab.numberOf), [7])
  }
})

const succeeded = Effect.fnUntraced(function* (...args: Parameters<typeof handshake>) {
  const result = yield* handshake(...args)
  if (Result.isFailure(result)) assert.fail(String(result.failure))
  return result.success
})

/** A server of `node:tls` that echoes, closed with the Scope. */
const echoOf = (options: tls.TlsOptions) =>
  Effect.acquireRelease(
    Effect.callback<tls.Server>((resume) => {
      const server = tls.createServer(options, (socket) => {
        socket.on("error", () => {})
        socket.pipe(socket)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port

for (const on of places) {
  describe(`an adopted connection with TLS (${on})`, () => {
    const { ca, cert, key } = client

    it.live("L10: is TLS's client when this side opened it", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const echo = yield* echoOf({ ...rsa, ca: ca!, requestCert: true })
          const fd = yield* descriptorTo(portOf(echo))
          const lane = yield* pool.adopt({ ...optionsOf(on, client), fd, initiator: true })
          assert.isTrue(lane.peer.tls?.authorized)
          lane.send(lab.numbered(7, 50_000))
          assert.deepStrictEqual((yield* lab.takeCount(lane, 1)).map(lab.numberOf), [7])
          yield* lane.close
          assert.throws(() => fstatSync(fd), /EBADF/)
        })
      )
    )

    it.live("L10: is TLS's server otherwise, and asks for the client's certificate", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const sockets: Array<net.Socket> = []
          const raw = yield* lab.rawServer((socket) => sockets.push(socket))
          const fd = yield* descriptorTo(raw.port)
          yield* lab.until("the peer's socket", () => Effect.sync(() => sockets.length > 0))
          const options = { ca: ca!, cert: cert!, key: key!, servername: "localhost" }
          const peer = tls.connect({ ...options, socket: sockets[0]! })
          peer.on("error", () => {})
          peer.on("data", (bytes) => peer.write(bytes))
          const lane = yield* pool.adopt({ ...optionsOf(on, server), fd })
          assert.strictEqual(lane.peer.tls?.subject, "handfast test client")
          lane.send(lab.numbered(7, 50_000))
          assert.deepStrictEqual((yield* lab.takeCount(lane, 1)).map(lab.numberOf), [7])
          yield* lane.close
          assert.throws(() => fstatSync(fd), /EBADF/)
        })
      )
    )

    it.live("L10: fails as its handshake does, in time, and closes the descriptor", () =>
      lab.withPool({ workers: 1, openWithinMs: 300 }, (pool) =>
        Effect.gen(function* () {
          // One peer answers in clear text, one leaves, one is silent.
          const answers = [lab.numbered(1), undefined, new Uint8Array(0)]
          for (const initiator of [true, false]) {
            for (const answer of answers) {
              const raw = yield* lab.rawServer((socket) => {
                if (answer === undefined) socket.end()
                else socket.write(answer)
              })
              const fd = yield* descriptorTo(raw.port)
              const settings = initiator ? client : server
              const failure = yield* pool
                .adopt({ ...optionsOf(on, settings), fd, initiator })
                .pipe(Effect.flip)
              assert.deepStrictEqual([failure._tag, failure.step], ["SocketOpenError", "tls"])
              yield* lab.until("the descriptor is closed", () =>
                Effect.sync(() => {
                  try {
                    return !fstatSync(fd).isSocket()
                  } catch {
                    return true
                  }
                })
              )
            }
          }
          const stranger = yield* echoOf({
            cert: lab.pem("stranger"),
            key: lab.pem("stranger-key")
          })
          const fd = yield* descriptorTo(portOf(stranger))
          const options = { ...optionsOf(on, client), fd, initiator: true }
          assert.strictEqual((yield* Effect.flip(pool.adopt(options))).step, "tls")
        })
      )
    )
  })

  describe(`TLS settings (${on})`, () => {
    it.live("negotiate a protocol by name, and refuse a peer that has none of them", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const offered = { ...client, alpn: ["third", "second"] }
          const both = { ...server, alpn: ["first", "second"] }
          const { far, near } = yield* succeeded(pool, on, both, offered)
          assert.deepStrictEqual([near.alpn, far.alpn], ["second", "second"])
          const none = yield* succeeded(pool, on, server, client)
          assert.deepStrictEqual([none.near.alpn, none.far.alpn], ["", ""])
          const only = { ...server, alpn: ["first"] }
          const refused = yield* handshake(pool, on, only, offered)
          assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "SocketOpenError")
        })
      )
    )

    it.live("bound the versions from both sides", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const old = { ...client, maxVersion: "TLSv1.2" } as const
          const { far } = yield* succeeded(pool, on, server, old)
          assert.strictEqual(far.protocol, "TLSv1.2")
          assert.strictEqual((yield* succeeded(pool, on, server, client)).near.protocol, "TLSv1.3")
          const strict = { ...server, minVersion: "TLSv1.3" } as const
          assert.isTrue(Result.isFailure(yield* handshake(pool, on, strict, old)))
        })
      )
    )

    // Node 24.16 serves the default identity where the named one has a key of another kind.
    const kinds = process.versions.node.startsWith("24.16.") ? [client] : [client, rsa]
    for (const [kind, { cert, key }] of kinds.entries()) {
      it.live(`choose the certificate by the name that the client asks for (${kind})`, () =>
        lab.withPool({ workers: 1 }, (pool) =>
          Effect.gen(function* () {
            const names = { "*.example.test": { cert: cert!, key: key! } }
            const ask = (servername: string) =>
              succeeded(pool, on, { ...server, names }, { ...client, servername, verify: "chain" })
            const prints = [serverCert!, cert!].map((c) => new X509Certificate(c).fingerprint256)
            const known = yield* ask("a.example.test")
            assert.deepStrictEqual(
              [known.near.fingerprint, known.far.servername],
              [prints[1], "a.example.test"]
            )
            // The context of a name trusts the same authorities.
            assert.strictEqual(known.far.subject, "handfast test client")
            const other = yield* ask("example.org")
            assert.strictEqual(other.near.fingerprint, prints[0])
          })
        )
      )
    }

    it.live("verify a chain without its name, and nothing that no authority signed", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const elsewhere = { ...client, servername: "elsewhere.test" }
          assert.isTrue(Result.isFailure(yield* handshake(pool, on, server, elsewhere)))
          const chain = { ...elsewhere, verify: "chain" } as const
          assert.isTrue((yield* succeeded(pool, on, server, chain)).near.authorized)
          const stranger = { ...lab.tlsOf("stranger"), verify: "none" } as const
          assert.isTrue(Result.isFailure(yield* handshake(pool, on, stranger, chain)))
          const unchecked = { ...elsewhere, verify: "none" } as const
          assert.isFalse((yield* succeeded(pool, on, stranger, unchecked)).near.authorized)
        })
      )
    )

    it.live("read an encrypted key; a wrong passphrase and a broken one fail by name", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const passphrase = "open"
          const cipher = { cipher: "aes-256-cbc", passphrase } as const
          const pkcs8 = { type: "pkcs8", format: "pem" } as const
          const key = createPrivateKey(serverKey!).export({ ...pkcs8, ...cipher }) as string
          yield* succeeded(pool, on, { ...server, key, passphrase }, client)
          for (const wrong of [{ key, passphrase: "shut" }, { key }, { key: "no PEM" }]) {
            const failed = yield* handshake(pool, on, { ...server, ...wrong }, client)
            assert.isTrue(
              Result.isFailure(failed) &&
                failed.failure._tag === "SocketOpenError" &&
                failed.failure.step === "tls",
              String(failed)
            )
          }
        })
      )
    )

    // It fails at once, not when the time to open is over.
    it.live("need a name to verify where no host tells it", () =>
      lab.withPool({ workers: 1, openWithinMs: 600_000 }, (pool) =>
        Effect.gen(function* () {
          const raw = yield* lab.rawServer(() => {})
          const fd = yield* descriptorTo(raw.port)
          const { servername: _, ...nameless } = client
          const options = { ...optionsOf(on, nameless), fd, initiator: true }
          const failure = yield* Effect.flip(pool.adopt(options))
          assert.deepStrictEqual([failure.step, failure.code], ["tls", "ERR_TLS_NO_SERVERNAME"])
        })
      )
    )

    it.live("refuses a server without a certificate, and takes one that has names alone", () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const listen = (tls: TlsSettings) =>
            pool.listen({ framer: lab.labFramer, on, tls, at: lab.loopback })
          const failure = yield* Effect.flip(listen({ verify: "none" }))
          assert.deepStrictEqual([failure.step, failure.code], ["tls", "ERR_TLS_NO_IDENTITY"])
          const { cert, key } = lab.tlsOf("server")
          yield* listen({ names: { localhost: { cert: cert!, key: key! } }, verify: "none" })
        })
      )
    )
  })

  it.live(`a port is shared only when that is asked for (${on})`, () =>
    lab.withPool({ workers: 2 }, (pool) =>
      Effect.gen(function* () {
        const options = { framer: lab.labFramer, on }
        const alone = yield* pool.listen({ ...options, at: lab.loopback })
        for (const reusePort of [true, false]) {
          const at = { host: "127.0.0.1", port: alone.port }
          const taken = yield* Effect.flip(pool.listen({ ...options, at, reusePort }))
          assert.deepStrictEqual([taken.step, taken.code], ["listen", "EADDRINUSE"])
        }
        const shared = yield* pool.listen({ ...options, at: lab.loopback, reusePort: true })
        const at = { host: "127.0.0.1", port: shared.port }
        yield* pool.listen({ ...options, at, reusePort: true })
      })
    )
  )
}
