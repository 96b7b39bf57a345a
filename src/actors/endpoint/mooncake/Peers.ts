/**
 * The peers that a node serves, known by the addresses that they call from or by certificates.
 *
 * An address says no more than which host calls: all programs of that host are served.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { BlockList, isIP } from "node:net"
import type { PeerInfo } from "../../../native/io/internal/messages.ts"
import * as NicPath from "../../../schema/mooncake/NicPath.ts"
import type { Caller } from "./internal/requestHandler.ts"

/** A name, an address, a network (`10.0.0.0/24`), or the certificate of a TLS client. */
export type Peer = string | { readonly certificate: string }

/** A node does not say whom it serves, or names a peer that cannot be one. */
export class PeersRefused extends Schema.TaggedError<PeersRefused>()("PeersRefused", {
  given: Schema.String,
  rule: Schema.String
}) {
  override get message() {
    return `${this.given}: ${this.rule}`
  }
}

const refused = (given: string, rule: string) => Effect.fail(new PeersRefused({ given, rule }))

/** The addresses of a name, at this moment. */
export type Lookup = (server: string) => Effect.Effect<ReadonlyArray<string>, unknown>

/** As sockets of version 6 name an address of version 4, and link-local ones their interface. */
const plain = (address: string): string =>
  address.replace(/^::ffff:(?=\d)/i, "").replace(/%.*$/, "")

const familyOf = (address: string): "ipv4" | "ipv6" => (isIP(address) === 4 ? "ipv4" : "ipv6")

const hostOf = (server: string): string | undefined => {
  const address = NicPath.address({ server, nic: "any" })
  return Result.isSuccess(address) ? plain(address.success.host) : undefined
}

/** The fingerprint (SHA-256) as TLS tells it: pairs of upper-case digits and colons. */
const fingerprint = /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/

export class Peers {
  readonly #networks = new BlockList()
  readonly #certificates = new Set<string>()
  /** Names as they were given, which also say where a peer is looked up, by their hosts. */
  readonly #names = new Map<string, string>()
  /** Addresses of each name at the last look. */
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
          Effect.map((addresses) => void this.#found.set(host, addresses.map(plain))),
          Effect.catch((error) => Effect.logWarning(`the peer ${server} is not found: ${error}`))
        ),
      { concurrency: 16, discard: true }
    )
  }

  /** Whether data connections are made with an address. Those of certificates have keys. */
  admitsAddress(address: string): boolean {
    return this.hasCertificates || this.#has(plain(address))
  }

  /** Whether anything that a caller sends is read. */
  hears(peer: PeerInfo): boolean {
    return this.#isCertified(peer) || this.#has(plain(peer.address))
  }

  /** Whether a request is answered: a peer speaks for no server that is no peer. */
  admits({ from, peer }: Caller): boolean {
    if (!this.hears(peer)) return false
    if (from === undefined || this.#isCertified(peer)) return true
    const path = NicPath.parse(from)
    return Result.isSuccess(path) && this.#isNamed(path.success.server)
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
