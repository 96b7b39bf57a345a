/** The peers of a node: those that its handshake port admits, and those that it may call. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { SettingsRefused } from "../../../native/io/PoolError.ts"
import type { IoPool, TlsSettings } from "../../../native/io/IoPool.ts"
import type { PeerInfo } from "../../../native/io/Lane.ts"
import * as NicPath from "../../../schema/mooncake/NicPath.ts"
import * as Peers from "../../link/Peers.ts"
import { Caller as Calling, type Options as CallOptions } from "./internal/client.ts"
import type { Caller } from "./internal/requestHandler.ts"

interface Wanted {
  readonly peers?: ReadonlyArray<Peers.Peer> | undefined
  readonly open?: true | undefined
  readonly calls?: CallOptions | undefined
  readonly handshake?: { readonly tls?: Pick<TlsSettings, "verify"> | undefined } | undefined
}

type Admit = (caller: Caller) => boolean

interface Service extends Pick<Peers.ServedPeers, "mayCall" | "admitsAddress"> {
  /** Checks for the handshake port, combined with the program's `admit`. */
  readonly handshake: (admit: Admit | undefined) => {
    readonly hears?: (peer: PeerInfo) => boolean
    readonly admit?: Admit | undefined
  }
}

/** Reads the list of peers. Names are resolved as calls resolve them. */
export const serve = Effect.fnUntraced(function* (
  wanted: Wanted
): Effect.fn.Return<Service, Peers.PeersRefused | SettingsRefused, IoPool | Scope.Scope> {
  const { calls = {}, handshake } = wanted
  const calling = yield* Calling.make(calls)
  const lookup: Peers.Lookup = (server) =>
    Effect.map(calling.addressesOf(server), (all) => all.map(({ host }) => host))
  const { verify = "none" } = handshake?.tls ?? {}
  const peers = yield* Peers.serve(wanted, lookup, verify !== "none")
  /** A handshake names its sender, which must also be a peer. */
  const admits = ({ from, peer }: Caller): boolean => {
    if (!peers.admits(peer)) return false
    if (from === undefined) return true
    const path = NicPath.parse(from)
    return Result.isSuccess(path) && peers.mayNameItself(peer, path.success.server)
  }
  return {
    mayCall: (server) => peers.mayCall(server),
    admitsAddress: (address) => peers.admitsAddress(address),
    // Finding a caller's address costs a system call, which a node open to all peers saves.
    handshake: (admit) =>
      wanted.open === true
        ? { admit }
        : {
            hears: (peer) => peers.admits(peer),
            admit: (caller) => admits(caller) && admit?.(caller) !== false
          }
  }
})
