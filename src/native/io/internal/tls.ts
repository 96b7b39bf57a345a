/**
 * TLS of lanes: its settings as plain data, and their use with `node:tls`.
 */
import { X509Certificate } from "node:crypto"
import type * as net from "node:net"
import * as tls from "node:tls"
import { cutText, nameCharacters } from "./cutText.ts"

/** A certificate chain with its private key, as PEM texts. */
export interface TlsIdentity {
  readonly cert: string
  readonly key: string
  /** Decrypts an encrypted key. */
  readonly passphrase?: string
}

/** A version of the protocol. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3"

/** TLS, as the options of `node:tls` that can cross a thread: texts and flags. */
export interface TlsSettings extends Partial<TlsIdentity> {
  /** Certificates of trusted authorities. Default: those that Node trusts. */
  readonly ca?: string
  /** Client: the server's name to ask for and to check. Default: the host that is connected to. */
  readonly servername?: string
  /**
   * Server: identities by the name that a client asks for (SNI); `*.example.com` stands for every
   * name with one label more. Other names, and none, get `cert` and `key`.
   * Node 24.16 takes an identity only if its key is of the same kind as `key`.
   */
  readonly names?: Readonly<Record<string, TlsIdentity>>
  /**
   * Protocol names to negotiate (ALPN), the preferred one first. A server that shares none with its
   * client refuses the handshake.
   */
  readonly alpn?: ReadonlyArray<string>
  /** Default: Node's, which is TLSv1.2. */
  readonly minVersion?: TlsVersion
  /** Default: Node's, which is TLSv1.3. */
  readonly maxVersion?: TlsVersion
  /**
   * Checks of the peer's certificate. `chain`: a trusted authority must have signed it. `name`:
   * also, a server's must be for `servername`; clients have no name to check. `none`: clients are
   * asked for no certificate, and a server's is not checked.
   */
  readonly verify: "name" | "chain" | "none"
}

/** Contexts that a thread keeps: few services have more than one or two identities. */
const keptContexts = 16
const contexts = new Map<string, tls.SecureContext>()

/** The settings of which a secure context is made. */
const contextOptions = (
  { ca, maxVersion, minVersion }: TlsSettings,
  { cert, key, passphrase }: Partial<TlsIdentity>
): tls.SecureContextOptions => {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(maxVersion === undefined ? {} : { maxVersion })
  }
}

/**
 * The parsed certificates of these settings, made once: parsing costs more than a handshake's
 * arithmetic, and a context's memory is only freed by a garbage collection.
 */
const contextOf = (settings: TlsSettings): tls.SecureContext => {
  const options = contextOptions(settings, settings)
  const name = JSON.stringify(options)
  const kept = contexts.get(name)
  if (kept !== undefined) return kept
  const made = tls.createSecureContext(options)
  const [oldest] = contexts.keys()
  if (oldest !== undefined && contexts.size >= keptContexts) contexts.delete(oldest)
  contexts.set(name, made)
  return made
}

const alpnOf = ({ alpn }: TlsSettings) => (alpn === undefined ? {} : { ALPNProtocols: [...alpn] })

/** The transport of a client's handshake: an address to connect to, or a connected socket. */
export type ClientTransport = net.NetConnectOpts | { readonly socket: net.Socket }

/** Starts a client's handshake; `secureConnect` is its end. */
export const connectTls = (
  transport: ClientTransport,
  settings: TlsSettings,
  halfOpen: boolean
): tls.TLSSocket => {
  const { servername, verify } = settings
  // Node would check the certificate against "localhost".
  if (verify === "name" && servername === undefined && !("host" in transport)) {
    const error = new Error("servername is needed to verify the name without a host")
    throw Object.assign(error, { code: "ERR_TLS_NO_SERVERNAME" })
  }
  const options: tls.ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    ...transport,
    secureContext: contextOf(settings),
    rejectUnauthorized: verify !== "none",
    ...(verify === "chain" ? { checkServerIdentity: () => undefined } : {}),
    ...(servername === undefined ? {} : { servername }),
    ...alpnOf(settings),
    allowHalfOpen: halfOpen
  }
  return tls.connect(options)
}

/** A server that is not listening; `secured` gets sockets whose handshake has succeeded. */
export const makeTlsServer = (
  settings: TlsSettings,
  halfOpen: boolean,
  handshakeWithinMs: number,
  secured: (socket: tls.TLSSocket) => void
): tls.Server => {
  if (settings.cert === undefined && settings.names === undefined) {
    // Node would listen, and fail every handshake.
    const error = new Error("a server needs cert and key, or names")
    throw Object.assign(error, { code: "ERR_TLS_NO_IDENTITY" })
  }
  const server = tls.createServer(
    {
      ...contextOptions(settings, settings),
      ...alpnOf(settings),
      requestCert: settings.verify !== "none",
      rejectUnauthorized: settings.verify !== "none",
      allowHalfOpen: halfOpen,
      handshakeTimeout: handshakeWithinMs,
      noDelay: true
    },
    secured
  )
  // Node does not close connections whose handshake did not finish in time.
  server.on("tlsClientError", (_, socket) => socket.destroy())
  for (const [name, identity] of Object.entries(settings.names ?? {})) {
    server.addContext(name, tls.createSecureContext(contextOptions(settings, identity)))
  }
  return server
}

export const renew = (server: tls.Server, settings: TlsSettings): void => {
  server.setSecureContext(contextOptions(settings, settings))
  for (const [name, identity] of Object.entries(settings.names ?? {})) {
    server.addContext(name, tls.createSecureContext(contextOptions(settings, identity)))
  }
}

/**
 * Until when the certificate of these settings is valid, in milliseconds since 1970; undefined
 * without one. Throws if the texts are no certificates, or do not belong together.
 */
export const certificateEnd = (settings: TlsSettings): number | undefined => {
  contextOf(settings)
  const { cert } = settings
  return cert === undefined ? undefined : Date.parse(new X509Certificate(cert).validTo)
}

/** Runs a server's handshake on a connected socket, which is closed when it fails. */
export const acceptTls = (
  socket: net.Socket,
  settings: TlsSettings,
  halfOpen: boolean,
  secured: (socket: tls.TLSSocket) => void,
  failed: (error: Error) => void
): void => {
  // The caller bounds the time of the handshake.
  const server = makeTlsServer(settings, halfOpen, 0, secured)
  server.on("tlsClientError", failed)
  server.emit("connection", socket)
}

/** Characters of a protocol's name; registered ones are shorter. */
const protocolCharacters = 64

/** Names on the wire are ASCII. */
const asciiOf = (text: string | false | null, characters: number): string =>
  cutText((text || "").replace(/[^ -~]/g, "?"), characters)

/** The peer's identity, as the handshake has established it. */
export const tlsPeerOf = (socket: tls.TLSSocket) => {
  // The other form of a peer's certificate is parsed into an object, field by field.
  const certificate = socket.getPeerX509Certificate()
  const [, subject = ""] = /^CN=(.*)$/m.exec(certificate?.subject ?? "") ?? []
  return {
    protocol: socket.getProtocol() ?? "",
    authorized: socket.authorized,
    subject: cutText(subject, nameCharacters),
    fingerprint: certificate?.fingerprint256 ?? "",
    alpn: asciiOf(socket.alpnProtocol, protocolCharacters),
    servername: asciiOf(socket.servername, nameCharacters)
  }
}
