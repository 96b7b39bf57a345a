/** The protocols that `handfast decode` knows: one line each. */
import type { FrameDecoder } from "../schema/FrameDecoder.ts"
import * as BusDecoder from "../schema/bus/BusDecoder.ts"
import * as IwarpDecoder from "../schema/iwarp/IwarpDecoder.ts"
import * as MooncakeDecoder from "../schema/mooncake/MooncakeDecoder.ts"
import * as RpcRdmaDecoder from "../schema/rpc/RpcRdmaDecoder.ts"

/** Makes the decoder of one run, so that no run sees what another one settled. */
export type Protocols = Readonly<Record<string, () => FrameDecoder>>

export const protocols: Protocols = {
  bus: BusDecoder.make,
  iwarp: IwarpDecoder.make,
  mooncake: MooncakeDecoder.make,
  rpcrdma: RpcRdmaDecoder.make
}
