/** Finds out what listens at an address where no node answered. */
import * as Effect from "effect/Effect"
import type { IoPool, TlsSettings } from "../../../native/io/IoPool.ts"
import { workerModule } from "../../../native/io/workerModule.ts"
import type { Address } from "./link.ts"

/** The result: a port for clients and the place of its bus, or the TLS mismatch of both sides. */
export type Found =
  | { readonly _tag: "NotABus"; readonly busPort: number; readonly isAsked: boolean }
  | { readonly _tag: "SpeaksTls" }
  | { readonly _tag: "TlsRefused" }

/** In clusters that say nothing else, the bus is this far above the client port. */
const busOffset = 10_000

/** Longest answer in bytes that is read: the lines of CLUSTER NODES about some thousand nodes. */
const longestAnswer = 1_048_576

const framer = workerModule(import.meta.url, "anyBytes")

const question = Buffer.from("*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n")

/** The port after the `@` in the line of CLUSTER NODES about the node that answers. */
const busPortOf = (text: string): number | undefined => {
  const line = text.split("\n").find((line) => /\bmyself\b/.test(line))
  const found = /@(\d+)/.exec(line ?? "")?.[1]
  return found === undefined ? undefined : Number(found)
}

/** Whether more of an answer would tell nothing else: an error, or the line about the node. */
const isEnough = (text: string): boolean =>
  text.startsWith("-") || /\bmyself\b.*\n/.test(text) || text.length >= longestAnswer

const connect = (pool: IoPool["Service"], { busPort, ip }: Address, tls?: TlsSettings) =>
  pool.connect({
    framer,
    to: { host: ip, port: busPort },
    on: "worker",
    ...(tls === undefined ? {} : { tls })
  })

/** The answer of the peer to a question in RESP within a time: empty if there is none. */
const ask = (pool: IoPool["Service"], to: Address, withinMs: number, tls?: TlsSettings) =>
  Effect.gen(function* () {
    let text = ""
    yield* Effect.gen(function* () {
      const lane = yield* connect(pool, to, tls)
      lane.send(question)
      while (!isEnough(text)) {
        for (const piece of yield* lane.take) text += Buffer.from(piece).toString("latin1")
      }
    }).pipe(Effect.scoped, Effect.timeoutOption(withinMs), Effect.ignore)
    return text
  })

/** Whether a peer takes a TLS handshake, or refuses this side's part in one. */
const speaksTls = (pool: IoPool["Service"], to: Address, withinMs: number) =>
  connect(pool, to, { verify: "none" }).pipe(
    Effect.as(true),
    Effect.scoped,
    Effect.catch(({ code }) => Effect.succeed(code.includes("ALERT"))),
    Effect.timeoutOrElse({ duration: withinMs, orElse: () => Effect.succeed(false) })
  )

/**
 * Whether a connection over TLS is closed before a byte is sent on it: with TLS 1.3 a client learns
 * after its connect that its certificate is refused, and from some servers by a close alone.
 */
const closesUnasked = (
  pool: IoPool["Service"],
  to: Address,
  withinMs: number,
  tls: TlsSettings
): Effect.Effect<boolean> =>
  connect(pool, to, tls).pipe(
    Effect.flatMap(({ closed }) => closed),
    Effect.scoped,
    Effect.as(true),
    Effect.catch(() => Effect.succeed(false)),
    Effect.timeoutOrElse({ duration: withinMs, orElse: () => Effect.succeed(false) })
  )

/** Undefined if what listens there is neither, or nothing does. */
export const probe = (
  pool: IoPool["Service"],
  to: Address,
  withinMs: number,
  tls?: TlsSettings
): Effect.Effect<Found | undefined> =>
  Effect.gen(function* () {
    const text = yield* ask(pool, to, withinMs, tls)
    if (/^[-+$:*]/.test(text)) {
      const busPort = busPortOf(text)
      const isAsked = busPort !== undefined
      return { _tag: "NotABus", busPort: busPort ?? to.busPort + busOffset, isAsked } as const
    }
    if (tls === undefined) {
      const wantsTls = yield* speaksTls(pool, to, withinMs)
      return wantsTls ? ({ _tag: "SpeaksTls" } as const) : undefined
    }
    const isRefused = yield* closesUnasked(pool, to, withinMs, tls)
    return isRefused ? ({ _tag: "TlsRefused" } as const) : undefined
  })
