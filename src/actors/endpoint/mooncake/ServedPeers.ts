/** Whom a node serves, as its ports and calls ask for it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { IoPool, TlsSettings } from "../../../native/io/IoPool.ts"
import type { PeerInfo } from "../../../native/io/internal/messages.ts"
import { Caller as Calling, type Options as CallOptions } from "./internal/client.ts"
import type { Caller } from "./internal/requestHandler.ts"
import { type Peer, Peers, PeersRefused } from "./Peers.ts"

/** How long an address that a name no longer has is served at most, and a new one is not. */
const refreshEvery = "30 seconds"

interface Wanted {
  readonly peers?: ReadonlyArray<Peer> | undefined
  readonly open?: true | undefined
  readonly calls?: CallOptions | undefined
  readonly handshake?: { readonly tls?: Pick<TlsSettings, "verify"> | undefined } | undefined
}

type Admit = (caller: Caller) => boolean

interface Service {
  /** Whether a server may be called. */
  readonly mayCall: (server: string) => boolean
  /** Whether data connections are made with an address. */
  readonly admitsAddress: (address: string) => boolean
  /** What the handshake port asks, where the program's `admit` asks as well. */
  readonly handshake: (admit: Admit | undefined) => {
    readonly hears?: (peer: PeerInfo) => boolean
    readonly admit?: Admit | undefined
  }
}

const open: Service = {
  mayCall: () => true,
  admitsAddress: () => true,
  handshake: (admit) => ({ admit })
}

const rule = "say whom the node serves: `peers`, or `open: true` for everyone"

/** Reads the list of peers, and looks its names up from time to time. */
export const serve = Effect.fnUntraced(function* (
  wanted: Wanted
): Effect.fn.Return<Service, PeersRefused, IoPool | Scope.Scope> {
  // Programs without types come here with neither, or with both.
  const { calls = {}, handshake, open: isOpen, peers: listed } = wanted
  if ((isOpen === true) === (listed !== undefined)) {
    return yield* new PeersRefused({ given: listed === undefined ? "no peers" : "both", rule })
  }
  if (listed === undefined) return open
  const calling = yield* Calling.make(calls)
  const peers = new Peers((server) =>
    Effect.map(calling.addressesOf(server), (all) => all.map(({ host }) => host))
  )
  for (const peer of listed) yield* peers.add(peer)
  const { verify = "none" } = handshake?.tls ?? {}
  if (peers.hasCertificates && verify === "none") {
    const rule = "`handshake.tls` with `verify` asks for certificates"
    return yield* new PeersRefused({ given: "a certificate", rule })
  }
  yield* peers.refresh
  if (peers.hasNames) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(peers.refresh, refreshEvery)))
  }
  return {
    mayCall: (server) => peers.mayCall(server),
    admitsAddress: (address) => peers.admitsAddress(address),
    handshake: (admit) => ({
      hears: (peer) => peers.hears(peer),
      admit: (caller) => peers.admits(caller) && admit?.(caller) !== false
    })
  }
})
