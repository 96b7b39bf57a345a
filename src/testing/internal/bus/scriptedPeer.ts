/**
 * A member of a cluster bus on real sockets of this process, which does as its script says. It has
 * no slots, and its epochs are 0, so the cluster that it joins loses no data by it.
 */
import { randomBytes } from "node:crypto"
import * as net from "node:net"
import * as tls from "node:tls"
import * as Result from "effect/Result"
import { frameLength } from "../../../schema/bus/Framing.ts"
import { MessageFlag, NodeFlag, slotBytes } from "../../../schema/bus/Layout.ts"
import type { Header, Message } from "../../../schema/bus/Message.ts"
import { decode, encode } from "../../../schema/bus/MessageCodec.ts"

/** The behavior of a peer where it differs from a well-behaved member. */
export interface Script {
  /** One line for a list of scripts. */
  readonly description: string
  /** Greets a link that this peer has dialled. Default: a MEET until it has joined, then a PING. */
  readonly greet?: (link: PeerLink) => void
  /** Takes a frame. Default: PING and MEET are answered by a PONG. */
  readonly receive?: (link: PeerLink, message: Message) => void
  /** Called when links lead both ways, then every second, with the count of calls before. */
  readonly act?: (peer: ScriptedPeer, round: number) => void
  /** It sends no PINGs once it has joined. */
  readonly sendsNoPings?: boolean
}

/** Events of a peer. */
export type PeerEvent =
  | { readonly _tag: "Opened" | "Closed"; readonly isDialled: boolean; readonly byUs: boolean }
  | { readonly _tag: "Joined" }
  | { readonly _tag: "Failed"; readonly detail: string }

export interface PeerOptions {
  /** The bus of a member. */
  readonly to: { readonly host: string; readonly port: number }
  /** The address that it listens at and dials from. Default: loopback. */
  readonly host?: string
  /** Certificate, key and authority, in PEM, of TLS both ways. Default: none. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
  /** The id that it speaks under. Default: one of its own. */
  readonly id?: string
  readonly onEvent?: (event: PeerEvent) => void
}

/** Bytes of the longest frame that a script reads; a longer one ends its link. */
const longestFrame = 1_048_576

/** Milliseconds between two acts. */
const actEveryMs = 1_000

/** One connection of a peer. */
export class PeerLink {
  readonly peer: ScriptedPeer
  readonly isDialled: boolean
  readonly socket: net.Socket
  isOpen = false
  /** Whether this side has ended it. */
  byUs = false
  /** Frames that have come, by their tag. */
  readonly received = new Map<Message["_tag"], number>()
  /** Bytes a second that it reads; everything by default. */
  readRate = Infinity
  #rest = Buffer.alloc(0)

  constructor(peer: ScriptedPeer, socket: net.Socket, isDialled: boolean) {
    this.peer = peer
    this.socket = socket
    this.isDialled = isDialled
    socket.on("data", (bytes) => this.#read(bytes))
  }

  count(tag: Message["_tag"]): number {
    return this.received.get(tag) ?? 0
  }

  send(...messages: ReadonlyArray<Message>): void {
    for (const message of messages) this.write(encode(message))
  }

  write(bytes: Uint8Array): void {
    if (!this.socket.writableEnded) this.socket.write(bytes)
  }

  /** Ends it in order; what was written still arrives. */
  end(): void {
    this.byUs = true
    this.socket.end()
  }

  #read(bytes: Buffer): void {
    if (this.readRate < Infinity) {
      this.socket.pause()
      const waitMs = (1_000 * bytes.length) / this.readRate
      this.peer.later(() => this.socket.resume(), waitMs)
    }
    this.#rest = Buffer.concat([this.#rest, bytes])
    while (true) {
      const length = frameLength(this.#rest, 0, this.#rest.length)
      if (typeof length !== "number" || length > longestFrame) return void this.socket.destroy()
      if (length === 0 || this.#rest.length < length) return
      const message = decode(Uint8Array.from(this.#rest.subarray(0, length)))
      this.#rest = this.#rest.subarray(length)
      if (Result.isSuccess(message)) this.#take(message.success)
    }
  }

  #take(message: Message): void {
    this.received.set(message._tag, this.count(message._tag) + 1)
    this.peer.received(this, message)
  }
}

export class ScriptedPeer {
  readonly id: string
  readonly script: Script
  readonly links = new Set<PeerLink>()
  /** Links lead both ways. */
  hasJoined = false
  port = 0
  readonly #options: PeerOptions
  readonly #server: net.Server
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #tell: (event: PeerEvent) => void
  #rounds = 0

  constructor(script: Script, options: PeerOptions) {
    this.script = script
    this.id = options.id ?? randomBytes(20).toString("hex")
    this.#options = options
    this.#tell = options.onEvent ?? (() => {})
    const accepted = (socket: net.Socket) => void this.#add(socket, false)
    const halfOpen = { allowHalfOpen: true }
    this.#server =
      options.tls === undefined
        ? net.createServer(halfOpen, accepted)
        : tls.createServer({ ...options.tls, ...halfOpen, requestCert: true }, accepted)
  }

  /** Listens, and dials the member. */
  start(): Promise<void> {
    const { host = "127.0.0.1" } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject).listen(0, host, () => {
        this.port = (this.#server.address() as net.AddressInfo).port
        this.#act()
        this.dial()
        resolve()
      })
    })
  }

  stop(): void {
    this.#server.close()
    for (const timer of this.#timers) clearTimeout(timer)
    for (const link of this.links) {
      link.byUs = true
      link.socket.destroy()
    }
  }

  /** Opens one more link to the member. */
  dial(): PeerLink {
    const { host, tls: secure, to } = this.#options
    const from = host === undefined ? {} : { localAddress: host }
    const options = { ...to, ...from, allowHalfOpen: true }
    // A cluster shares one authority; names are not checked.
    const checkServerIdentity = () => undefined
    const socket =
      secure === undefined
        ? net.connect(options)
        : tls.connect({ ...options, ...secure, checkServerIdentity })
    return this.#add(socket, true)
  }

  later(run: () => void, millis: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, millis)
    this.#timers.add(timer)
  }

  header(fields: Partial<Header> = {}): Header {
    return {
      port: 0,
      currentEpoch: 0n,
      configEpoch: 0n,
      replicationOffset: 0n,
      sender: this.id,
      slots: new Uint8Array(slotBytes),
      replicaOf: undefined,
      ip: "",
      otherPort: 0,
      busPort: this.port,
      flags: NodeFlag.primary | NodeFlag.myself | NodeFlag.takesLightPublish,
      isClusterOk: true,
      messageFlags: MessageFlag.hasExtensions,
      ...fields
    }
  }

  heartbeat(
    _tag: "Ping" | "Pong" | "Meet",
    rest: Partial<Message & { readonly _tag: "Ping" }> = {}
  ): Message {
    return { header: this.header(), gossip: [], extensions: [], ...rest, _tag }
  }

  /** The reaction of a well-behaved member to a frame. */
  answer(link: PeerLink, message: Message): void {
    if (message._tag === "Ping" || message._tag === "Meet") link.send(this.heartbeat("Pong"))
  }

  /** A frame has come on a link. */
  received(link: PeerLink, message: Message): void {
    if (this.script.receive === undefined) this.answer(link, message)
    else this.script.receive(link, message)
    const isProven = [...this.links].some((one) => one.isDialled && one.count("Pong") > 0)
    const isReached = [...this.links].some((one) => !one.isDialled && one.count("Ping") > 0)
    if (this.hasJoined || !isProven || !isReached) return
    this.hasJoined = true
    this.#tell({ _tag: "Joined" })
    this.#perform()
  }

  #act(): void {
    this.later(() => {
      if (this.hasJoined || this.script.greet !== undefined) this.#perform()
      this.#act()
    }, actEveryMs)
  }

  #perform(): void {
    if (this.script.sendsNoPings !== true) this.#ping()
    this.script.act?.(this, this.#rounds++)
  }

  /** A PING on the newest link, as a member has one alone; a lost one is dialled again. */
  #ping(): void {
    const dialled = [...this.links].filter(({ isDialled }) => isDialled)
    if (dialled.length === 0) this.dial()
    const newest = dialled.findLast(({ isOpen }) => isOpen)
    if (this.script.greet === undefined) newest?.send(this.heartbeat("Ping"))
  }

  #add(socket: net.Socket, isDialled: boolean): PeerLink {
    const link = new PeerLink(this, socket, isDialled)
    this.links.add(link)
    let detail = ""
    socket.on(
      "error",
      (error: NodeJS.ErrnoException) => void (detail = error.code ?? error.message)
    )
    // Half a close by the other side is its end, unless the script has its own half closed first.
    socket.on("end", () => void socket.end())
    socket.on("close", () => {
      this.links.delete(link)
      if (link.isOpen) this.#tell({ _tag: "Closed", isDialled, byUs: link.byUs })
      else this.#tell({ _tag: "Failed", detail })
      link.isOpen = false
    })
    const opened = () => {
      link.isOpen = true
      this.#tell({ _tag: "Opened", isDialled, byUs: false })
      if (!isDialled) return
      if (this.script.greet !== undefined) this.script.greet(link)
      else link.send(this.heartbeat(this.hasJoined ? "Ping" : "Meet"))
    }
    const event = this.#options.tls === undefined ? "connect" : "secureConnect"
    if (isDialled) socket.once(event, opened)
    else opened()
    return link
  }
}
