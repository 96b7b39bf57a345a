/**
 * The TLS settings of a node. Certificates end, and are replaced while it runs: settings that are
 * an effect are asked for again, and connections that are open stay.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { certificateEnd, type Server, type TlsSettings } from "../../../native/io/IoPool.ts"
import type { SocketOpenError } from "../../../native/io/PoolError.ts"
import { BusRefused } from "../BusError.ts"
import type { Settings } from "./settings.ts"

export interface Certificates {
  /** For connections from now on. */
  readonly current: TlsSettings | undefined
  /** Until when the certificate is valid, in milliseconds since 1970. */
  readonly endsAt: number | undefined
}

const ask = (tls: NonNullable<Settings["tls"]>): Effect.Effect<TlsSettings, BusRefused> =>
  Effect.isEffect(tls)
    ? Effect.catchCause(tls, (cause) =>
        Effect.fail(new BusRefused({ reason: "NoCertificates", detail: Cause.pretty(cause) }))
      )
    : Effect.succeed(tls)

const read = Effect.fnUntraced(function* (tls: NonNullable<Settings["tls"]>) {
  const current = yield* ask(tls)
  const endsAt = yield* Effect.mapError(
    certificateEnd(current),
    ({ detail }) => new BusRefused({ reason: "NoCertificates", detail })
  )
  return { current, endsAt }
})

/** Asks for the settings, and again each time that `reload` runs. */
export const certificatesOf = Effect.fnUntraced(function* ({ tls }: Settings) {
  const certificates: { -readonly [Name in keyof Certificates]: Certificates[Name] } = {
    current: undefined,
    endsAt: undefined
  }
  if (tls !== undefined) Object.assign(certificates, yield* read(tls))
  /** Settings that cannot be used change nothing. */
  const reload = Effect.fnUntraced(function* (
    server: Server
  ): Effect.fn.Return<void, BusRefused | SocketOpenError> {
    if (tls === undefined) return
    const next = yield* read(tls)
    yield* server.renewCertificates(next.current)
    Object.assign(certificates, next)
  })
  return { certificates: certificates as Certificates, reload }
})
