/**
 * The peers that a process serves and calls, known by their addresses or by certificates.
 *
 * An address names a host: all of its programs are served. Nothing is served by default: a process
 * names its peers, or says that it is open.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { BlockList, isIP } from "node:net"
import type { PeerInfo } from "../../native/io/Lane.ts"
import * as Address from "../../schema/Address.ts"

/** A name, an address, a network (`10.0.0.0/24`), or the certificate of a TLS client. */
export type Peer = string | { readonly certificate: string }

/** A process does not say which peers it serves, or names a peer that cannot be one. */
export class PeersRefused extends Schema.TaggedError<PeersRefused>()("PeersRefused", {
  given: Schema.String,
  rule: Schema.String
}) {
  override get message() {
    return `${this.given}: ${this.rule}`
  }
}

const refused = (given: string, rule: string) => Effect.fail(new PeersRefused({ given, rule }))

/** Looks up the addresses of a name. */
export type Lookup = (server: string) => Effect.Effect<ReadonlyArray<string>, unknown>

const familyOf = (address: string): "ipv4" | "ipv6" => (isIP(address) === 4 ? "ipv4" : "ipv6")

/** A port behind an address changes nothing: all programs of the host are served. */
const anyPort = 1

const hostOf = (server: string): string | undefined => {
  const address = Address.parse(server, anyPort)
  return address === undefined ? undefined : Address.canonicalHost(address.host)
}

/** A fingerprint (SHA-256) as TLS prints it: pairs of upper-case digits and colons. */
const fingerprint = /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/

export class Peers {
  readonly #networks = new BlockList()
  readonly #certificates = new Set<string>()
  /** Names as they were given, by their hosts. A lookup may need the port, too. */
  readonly #names = new Map<string, string>()
  /** Addresses of each name when it was last looked up. */
  readonly #found = new Map<string, ReadonlyArray<string>>()
  readonly #lookup: Lookup

  constructor(lookup: Lookup) {
    this.#lookup = lookup
  }

  /** Adds a peer; a name has no addresses before `refresh`. */
  add(peer: Peer): Effect.Effect<void, PeersRefused> {
    return Effect.suspend(() => {
      if (typeof peer !== "string") return this.#addCertificate(peer.certificate)
      if (peer.includes("/")) return this.#addNetwork(peer)
      const host = hostOf(peer)
      if (host === undefined) return refused(peer, "it is no name, address or network of a peer")
      if (isIP(host) === 0) this.#names.set(host, peer)
      else this.#networks.addAddress(host, familyOf(host))
      return Effect.void
    })
  }

  #addCertificate(text: string): Effect.Effect<void, PeersRefused> {
    const digits = text.toUpperCase()
    if (!fingerprint.test(digits)) return refused(text, "a certificate is named by its SHA-256")
    this.#certificates.add(digits)
    return Effect.void
  }

  #addNetwork(text: string): Effect.Effect<void, PeersRefused> {
    const [address = "", bits] = text.split("/")
    const length = /^\d{1,3}$/.test(bits ?? "") ? Number(bits) : Number.NaN
    const longest = isIP(address) === 4 ? 32 : 128
    if (isIP(address) === 0 || !(length <= longest)) return refused(text, "it is no network")
    this.#networks.addSubnet(address, length, familyOf(address))
    return Effect.void
  }

  get hasNames(): boolean {
    return this.#names.size > 0
  }

  get hasCertificates(): boolean {
    return this.#certificates.size > 0
  }

  /** Looks all names up. One that is not found keeps the addresses that it had. */
  get refresh(): Effect.Effect<void> {
    return Effect.forEach(
      [...this.#names],
      ([host, server]) =>
        this.#lookup(server).pipe(
          Effect.map(
            (addresses) => void this.#found.set(host, addresses.map(Address.canonicalHost))
          ),
          Effect.catch((error) => Effect.logWarning(`the peer ${server} is not found: ${error}`))
        ),
      { concurrency: 16, discard: true }
    )
  }

  /**
   * Whether data connections with an address are allowed. Where peers are known by certificates,
   * any address is: the connection has a key that only the two ends of a handshake know.
   */
  admitsAddress(address: string): boolean {
    return this.hasCertificates || this.#has(Address.canonicalHost(address))
  }

  /** Whether a caller is a peer. Of any other caller not one byte is read. */
  admits(peer: PeerInfo): boolean {
    return this.#isCertified(peer) || this.#has(Address.canonicalHost(peer.address))
  }

  /** Whether a caller may speak for a server: it has proven itself, or the server is a peer. */
  mayNameItself(peer: PeerInfo, server: string): boolean {
    return this.#isCertified(peer) || this.#isNamed(server)
  }

  /** Whether a server may be called. */
  mayCall(server: string): boolean {
    return this.hasCertificates || this.#isNamed(server)
  }

  #isNamed(server: string): boolean {
    const host = hostOf(server)
    if (host === undefined) return false
    return isIP(host) === 0 ? this.#names.has(host) : this.#has(host)
  }

  #isCertified({ tls }: PeerInfo): boolean {
    return tls?.authorized === true && this.#certificates.has(tls.fingerprint)
  }

  #has(address: string): boolean {
    if (isIP(address) === 0) return false
    if (this.#networks.check(address, familyOf(address))) return true
    for (const addresses of this.#found.values()) if (addresses.includes(address)) return true
    return false
  }
}

/** The peers of a process, as its ports and calls need them. */
export type ServedPeers = Pick<Peers, "admits" | "mayNameItself" | "mayCall" | "admitsAddress">

const everyone: ServedPeers = {
  admits: () => true,
  mayNameItself: () => true,
  mayCall: () => true,
  admitsAddress: () => true
}

/** A name's former addresses are served for this long at most, and its new ones are not. */
const refreshEvery = "30 seconds"

const ruleOfPeers = "name the peers that the node serves: `peers`, or `open: true` for every peer"
const ruleOfCertificates = "`handshake.tls` with `verify` asks for certificates"

/**
 * Reads the list of peers, and resolves names again while the Scope is open. `asksForCertificates`
 * is true if the port requires a certificate of its callers.
 */
export const serve = Effect.fnUntraced(function* (
  {
    open,
    peers: listed
  }: {
    readonly peers?: ReadonlyArray<Peer> | undefined
    readonly open?: true | undefined
  },
  lookup: Lookup,
  asksForCertificates: boolean
): Effect.fn.Return<ServedPeers, PeersRefused, Scope.Scope> {
  // Programs without types come here with neither, or with both.
  if ((open === true) === (listed !== undefined)) {
    return yield* refused(listed === undefined ? "no peers" : "both", ruleOfPeers)
  }
  if (listed === undefined) return everyone
  const peers = new Peers(lookup)
  for (const peer of listed) yield* peers.add(peer)
  if (peers.hasCertificates && !asksForCertificates) {
    return yield* refused("a certificate", ruleOfCertificates)
  }
  yield* peers.refresh
  if (peers.hasNames) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(peers.refresh, refreshEvery)))
  }
  return peers
})
