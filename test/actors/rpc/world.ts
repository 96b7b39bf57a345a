/** A server and its clients on one simulated fabric, with a program that counts executions. */
import * as Effect from "effect/Effect"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import type { Procedure, Program } from "../../../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"

export const program = 0x2000_0001
export const procedures = { echo: 1, count: 2, custom: 3, fill: 4 } as const

/** XDR of one opaque item, and where its data is. */
export const opaque = (bytes: Uint8Array): Uint8Array => {
  const xdr = new Uint8Array(4 + ((bytes.length + 3) & ~3))
  new DataView(xdr.buffer).setUint32(0, bytes.length)
  xdr.set(bytes, 4)
  return xdr
}

/** Bytes that depend on a number, to tell one call's data from another's. */
export const pattern = (length: number, seed: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + seed * 7
  return bytes
}

const word = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

export const token = (value: number): Uint8Array => word(value)

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/**
 * Echo returns its arguments; Count counts executions by token and returns the count; Fill returns
 * an opaque of so many bytes; Custom is the test's.
 */
export const makeProgram = (
  custom: Procedure["handler"] = () => Effect.never,
  isIdempotent = false
) => {
  const executions = new Map<number, number>()
  const served: Program = {
    program,
    version: 1,
    procedures: {
      [procedures.echo]: {
        isIdempotent: true,
        handler: ({ args }) => Effect.succeed({ results: args })
      },
      [procedures.count]: {
        handler: ({ args }) =>
          Effect.sync(() => {
            const times = (executions.get(numberIn(args)) ?? 0) + 1
            executions.set(numberIn(args), times)
            return { results: word(times) }
          })
      },
      [procedures.custom]: { handler: custom, isIdempotent },
      [procedures.fill]: {
        isIdempotent: true,
        handler: ({ args }) => {
          const length = numberIn(args)
          const results = opaque(pattern(length, length))
          return Effect.succeed({ results, bulk: [{ offset: 4, length }] })
        }
      }
    }
  }
  return { executions, served }
}

type ClientOptions = Partial<RpcClient.ClientOptions>
type ServerOptions = Partial<RpcServer.ServerOptions>

const makeFabric = SimFabric.make()

const startServer = (fabric: SimFabric, served: Program, options: ServerOptions = {}) =>
  Effect.provide(
    RpcServer.make({ programs: [served], open: true, host: "*", port: 20_049, ...options }),
    SimVerbs.layer(fabric, { host: "server" })
  )

const startClient = (
  fabric: SimFabric,
  { address }: RpcServer.RpcServer,
  { host = "client", ...options }: ClientOptions & { readonly host?: string } = {}
) =>
  Effect.provide(
    RpcClient.make({ to: address, program, version: 1, ...options }),
    SimVerbs.layer(fabric, { host })
  )

export interface WorldOptions {
  readonly client?: ClientOptions | undefined
  readonly server?: ServerOptions | undefined
  readonly custom?: Procedure["handler"] | undefined
  /** Of the custom procedure. Default: false. */
  readonly isIdempotent?: boolean | undefined
}

/** One server and one client. */
export const makeWorld = Effect.fnUntraced(function* (options: WorldOptions = {}) {
  const fabric = yield* makeFabric
  const { executions, served } = makeProgram(options.custom, options.isIdempotent)
  const server = yield* startServer(fabric, served, options.server)
  const client = yield* startClient(fabric, server, options.client)
  return {
    fabric,
    executions,
    server,
    client,
    another: startClient(fabric, server, { ...options.client, host: "other" })
  }
})

export const count = (client: RpcClient.RpcClient, value: number) =>
  Effect.map(client.call({ procedure: procedures.count, args: token(value) }), ({ results }) =>
    numberIn(results)
  )

export const echo = (client: RpcClient.RpcClient, bytes: Uint8Array) =>
  Effect.map(
    client.call({
      procedure: procedures.echo,
      args: opaque(bytes),
      bulkArgs: [{ offset: 4, length: bytes.length }],
      maxResultBytes: bytes.length + 8
    }),
    ({ results }) => results.slice(4, 4 + bytes.length)
  )
