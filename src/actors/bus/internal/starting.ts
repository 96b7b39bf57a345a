/** Settings of a node that cannot work, or would let strangers in, are refused before it starts. */
import * as Effect from "effect/Effect"
import type { TlsSettings } from "../../../native/io/IoPool.ts"
import { BusRefused } from "../BusError.ts"
import { canonicalIp, isLoopback, parseAddress } from "./addresses.ts"
import type { Address } from "./link.ts"
import { brokenLimit, type NodeSettings, type Settings } from "./settings.ts"

export const defaultHost = "127.0.0.1"

/** Returns the addresses of the seeds. */
export const checkSettings = Effect.fnUntraced(function* (
  settings: Settings,
  nodeSettings: NodeSettings,
  tls: TlsSettings | undefined
): Effect.fn.Return<ReadonlyArray<Address>, BusRefused> {
  const broken = brokenLimit(nodeSettings)
  if (broken !== undefined) return yield* new BusRefused({ reason: "BadLimit", detail: broken })
  const { admit, announce, listen, meet = [], shard } = settings
  if (shard !== undefined && !/^[0-9a-f]{40}$/.test(shard)) {
    const detail = `${JSON.stringify(shard)} is not 40 lower-case hex digits`
    return yield* new BusRefused({ reason: "BadShard", detail })
  }
  const host = listen?.host ?? defaultHost
  const isProtected = isLoopback(host) || (tls !== undefined && tls.verify !== "none")
  if (!isProtected && admit === undefined) {
    const detail = `${host} is reached without client certificates: set tls, or say whom to admit`
    return yield* new BusRefused({ reason: "Unprotected", detail })
  }
  const seeds: Array<Address> = []
  for (const text of meet) {
    const address = parseAddress(text)
    if (address === undefined) {
      const detail = `${JSON.stringify(text)} is not host:port`
      return yield* new BusRefused({ reason: "BadAddress", detail })
    }
    if (isLoopback(host) && !isLoopback(address.ip) && announce === undefined) {
      const detail = `${text} cannot connect to ${host}: set listen.host, or announce`
      return yield* new BusRefused({ reason: "Unreachable", detail })
    }
    seeds.push(address)
  }
  if (announce !== undefined && canonicalIp(announce.ip) === undefined) {
    const detail = `announce.ip is ${JSON.stringify(announce.ip)}, and no IP address`
    return yield* new BusRefused({ reason: "BadAddress", detail })
  }
  if (announce?.port === 0) {
    return yield* new BusRefused({ reason: "BadAddress", detail: "port 0 cannot be announced" })
  }
  return seeds
})
