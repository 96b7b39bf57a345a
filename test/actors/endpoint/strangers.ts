/** Nodes on loopback, and strangers that call them from another of its addresses. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as net from "node:net"
import { Nics } from "../../../src/actors/rdma/Nics.ts"
import { callOf } from "../../../src/actors/endpoint/mooncake/internal/codec.ts"
import {
  type Options,
  type Served,
  type Settings,
  TransferNode
} from "../../../src/actors/transfer/TransferNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import type { Settings as Iwarp } from "../../../src/native/iwarp/settings.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import * as Body from "../../../src/schema/mooncake/Body.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as Wire from "../../../src/schema/mooncake/Handshake.ts"
import { typed } from "./tcp.ts"

export const host = "127.0.0.1"
/** An address of loopback that no node of a test has. */
export const elsewhere = "127.0.0.2"

const settings: Iwarp = { on: "main", pool: { workers: 0 } }

export const layerOf = (options: Options, journal = Journal.layerMemory, iwarp = settings) =>
  TransferNode.layer(options).pipe(Layer.provide([IwarpVerbs.layer(iwarp), journal]))

export const nodeOf = Effect.fnUntraced(function* (
  served: Served,
  options: Partial<Settings> = {},
  journal = Journal.layerMemory,
  iwarp = settings
) {
  const all = { host, handshake: { port: 0 }, ...options, ...served }
  const context = yield* Layer.build(layerOf(all, journal, iwarp))
  const { server } = Context.get(context, TransferNode)
  const [nic] = Context.get(context, Nics)
  const { lid } = yield* nic!.device.port()
  return { context, server, port: Number(server.split(":")[1]), dataPort: lid, path: nic!.path }
})

/** What comes back until the other side ends, or the error if there is no connection at all. */
export const said = (
  port: number,
  bytes: Uint8Array,
  from: string,
  to = host
): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const pieces: Array<Buffer> = []
    let code = ""
    const socket = net.connect({ host: to, port, localAddress: from })
    socket.on("error", (error: NodeJS.ErrnoException) => (code = error.code ?? "error"))
    socket.on("data", (piece) => pieces.push(piece))
    socket.on("end", () => socket.end())
    socket.on("close", () => {
      const heard = Buffer.concat(pieces).toString("latin1")
      resume(Effect.succeed(heard === "" ? code : heard))
    })
    socket.write(bytes)
    return Effect.sync(() => socket.destroy())
  })

/** The frame of an offer. */
export const offerFrom = (
  from: string,
  to: string,
  at: { readonly gid?: string; readonly lid?: number; readonly epoch?: string } = {}
): Uint8Array => {
  const { epoch, gid = elsewhere, lid = 0 } = at
  const half = {
    queuePairs: [1, 2],
    gid: Gid.fromAddress(gid)!,
    lid,
    epoch: epoch as Epoch | undefined,
    mtu: epoch === undefined ? undefined : (1024 as const)
  }
  const offer = { from, to, half, knows: undefined, hasGate: true }
  return typed(Body.encode(Wire.toBody(Result.getOrThrow(callOf({ _tag: "Offer", said: offer })))))
}

/** One of each that a stranger may send to a handshake port. */
export const questions = (path: string): Readonly<Record<string, Uint8Array>> => ({
  metadata: typed("{}\n", FrameType.metadata),
  offer: offerFrom(`${elsewhere}:1@x`, path),
  notify: typed('{"name":"a","notify_msg":"b"}\n', FrameType.notify),
  probe: typed("{}\n", FrameType.probe)
})
