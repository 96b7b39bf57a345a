/**
 * Nodes of the bus on a network in memory, on one virtual clock: frames arrive in order, a tenth of
 * a second apart from the ticks, and every frame that a node sends is looked at.
 */
import { assert } from "@effect/vitest"
import { FrameView } from "../../../src/schema/bus/FrameView.ts"
import type { Header, Message } from "../../../src/schema/bus/Message.ts"
import { encode, messageOf } from "../../../src/schema/bus/MessageCodec.ts"
import { Board } from "../../../src/actors/bus/internal/board.ts"
import type { Address, Channel } from "../../../src/actors/bus/internal/link.ts"
import type { PeerLink } from "../../../src/actors/bus/internal/member.ts"
import { Node } from "../../../src/actors/bus/internal/node.ts"
import type { Self } from "../../../src/actors/bus/internal/outgoing.ts"
import { type NodeSettings, settingsOf } from "../../../src/actors/bus/internal/settings.ts"
import type { Outside, Publication } from "../../../src/actors/bus/internal/table.ts"

export const nodeTimeoutMs = 1_000

export const idOf = (name: string): string =>
  Buffer.from(name.padEnd(20, ".")).toString("hex").slice(0, 40)

/** What a connection leads to: a node, or a script. */
interface Host {
  readonly address: Address
  readonly connected: (channel: Channel, from: Address) => (message: Uint8Array | "end") => void
}

/** One end of a connection in memory. */
class End implements Channel {
  readonly #network: Network
  other: End | undefined
  receive: (message: Uint8Array | "end") => void = () => {}
  isOpen = true

  constructor(network: Network) {
    this.#network = network
  }

  readonly send = (bytes: Uint8Array): "accepted" | "closed" => {
    if (!this.isOpen) return "closed"
    // What was read before a close still arrives after it, as from a worker.
    this.#network.later(() => this.other!.receive(bytes))
    return "accepted"
  }

  readonly close = (): void => {
    if (!this.isOpen) return
    this.isOpen = false
    this.#network.later(() => {
      this.receive("end")
      this.other!.close()
    })
  }
}

export class Network {
  now = 1_000_000
  readonly hosts = new Map<string, Host>()
  readonly nodes: Array<TestNode> = []
  /** Every frame that a node has sent, and by whom. */
  readonly sent: Array<{ readonly from: string; readonly message: Message }> = []
  #queue: Array<() => void> = []

  later(deliver: () => void): void {
    this.#queue.push(deliver)
  }

  connect(to: Address): { near: End; open: (from: Address) => boolean } {
    const [near, far] = [new End(this), new End(this)]
    near.other = far
    far.other = near
    const open = (from: Address) => {
      const host = this.hosts.get(`${to.ip}:${to.busPort}`)
      if (host === undefined) return false
      far.receive = host.connected(far, from)
      return true
    }
    return { near, open }
  }

  /** Delivers what is under way, and what that leads to. */
  settle(): void {
    for (let k = 0; this.#queue.length > 0; k++) {
      assert.isBelow(k, 10_000, "frames without end")
      const queue = this.#queue
      this.#queue = []
      for (const deliver of queue) deliver()
    }
  }

  /** Lets time pass. Nodes that sleep meanwhile read nothing: it waits for them. */
  pass(millis: number, asleep: ReadonlyArray<TestNode> = []): void {
    this.settle()
    for (const node of this.nodes) node.isAsleep = asleep.includes(node)
    for (let passed = 0; passed < millis; passed += 100) {
      this.now += 100
      for (const node of this.nodes) node.wake()
      this.settle()
    }
  }

  /** Passes time until a condition holds, within a bound. */
  until(what: string, condition: () => boolean, withinMs = 20 * nodeTimeoutMs): void {
    for (let passed = 0; passed <= withinMs; passed += 100) {
      this.settle()
      if (condition()) return
      this.pass(100)
    }
    assert.fail(`not within ${withinMs} ms: ${what}`)
  }

  node(name: string, port: number, options: NodeOptions = {}): TestNode {
    const node = new TestNode(this, name, { ip: options.ip ?? "127.0.0.1", busPort: port }, options)
    this.nodes.push(node)
    return node
  }

  /** A peer that does as the test says. */
  script(name: string, address: Address): Script {
    return new Script(this, name, address)
  }
}

interface NodeOptions {
  readonly admit?: Outside["admit"]
  readonly settings?: Partial<NodeSettings>
  readonly ip?: string
}

/** A node, and what it told of itself. */
export class TestNode {
  readonly node: Node
  readonly id: string
  readonly address: Address
  readonly publications: Array<Publication> = []
  readonly warnings: Array<string> = []
  readonly kept = new Map<string, Address>()
  /** Whom it has suspected at any time. */
  readonly suspected = new Set<string>()
  isRemoved = false
  isUp = true
  isAsleep = false
  /** What has come while it slept. */
  #backlog: Array<() => void> = []

  constructor(network: Network, name: string, address: Address, options: NodeOptions) {
    const self: Self = {
      id: idOf(name),
      shard: idOf(`${name} shard`),
      ip: "",
      busPort: address.busPort,
      clientPort: 0
    }
    this.id = self.id
    this.address = address
    let draws = 0
    const outside: Outside = {
      now: () => network.now,
      unixSeconds: () => 1_700_000_000 + Math.floor(network.now / 1_000),
      // A fixed sequence: every run is the same.
      random: () => (draws = (draws * 0.618 + 0.377) % 1),
      dial: (link) => network.later(() => this.#dial(network, link)),
      admit: options.admit ?? (() => this.node.table.proven.length === 0),
      changed: () => {
        for (const { id, isSuspected } of this.node.table.members.values()) {
          if (isSuspected) this.suspected.add(id)
        }
      },
      keep: (id, address) => void this.kept.set(id, address),
      drop: (id) => void this.kept.delete(id),
      removed: () => void (this.isRemoved = true),
      returned: () => void (this.isRemoved = false),
      deliver: (publication) => void this.publications.push(publication),
      missed: () => {},
      warn: (what) => void this.warnings.push(what)
    }
    const settings = settingsOf({ nodeTimeoutMs, ...options.settings })
    this.node = new Node(
      self,
      settings,
      outside,
      new Board(settings.maxMembers, 65_536, process.hrtime.bigint)
    )
    this.up(network)
  }

  /** A tick, and only then what has come: a timer that is late runs before what is read. */
  wake(): void {
    if (!this.isUp || this.isAsleep) return
    this.node.tick()
    const backlog = this.#backlog
    this.#backlog = []
    for (const read of backlog) read()
  }

  /** Listens again after `down`. */
  up(network: Network): void {
    this.isUp = true
    network.hosts.set(`${this.address.ip}:${this.address.busPort}`, {
      address: this.address,
      connected: (end, from) => {
        const channel = this.#watched(network, end)
        const link = this.node.accepted(channel, from)
        if (link === undefined) channel.close()
        return this.#reader(link)
      }
    })
  }

  /** Ends as a process that was killed. */
  down(network: Network): void {
    this.isUp = false
    network.hosts.delete(`${this.address.ip}:${this.address.busPort}`)
    for (const link of this.node.table.links) {
      link.channel?.close()
      this.node.closed(link)
    }
    network.settle()
  }

  #watched(network: Network, end: Channel): Channel {
    const view = new FrameView()
    return {
      close: end.close,
      send: (bytes) => {
        assert.isUndefined(view.read(bytes, 0, bytes.length))
        network.sent.push({ from: this.id, message: messageOf(view) })
        return end.send(bytes)
      }
    }
  }

  #reader(link: PeerLink | undefined): (message: Uint8Array | "end") => void {
    const view = new FrameView()
    const receive = (message: Uint8Array | "end"): void => {
      if (link === undefined || !this.isUp) return
      if (this.isAsleep) return void this.#backlog.push(() => receive(message))
      if (message === "end") this.node.closed(link)
      else if (view.read(message, 0, message.length) === undefined) {
        this.node.take(link, view, false)
      } else this.node.dropped()
    }
    return receive
  }

  #dial(network: Network, link: PeerLink): void {
    const { near, open } = network.connect(link.remote)
    near.receive = this.#reader(link)
    const from = { ip: this.address.ip, busPort: 40_000 }
    if (!this.isUp || !open(from)) return this.node.closed(link)
    this.node.opened(link, this.#watched(network, near), link.remote)
  }

  /** The state of each member as a user sees it, by name. */
  sees(other: TestNode | Script) {
    return this.node.table.members.get(other.id)
  }

  /** Whether links lead both ways. */
  isConnectedTo(other: TestNode | Script): boolean {
    const member = this.sees(other)
    return member?.outbound?.isProven === true && member.inbound !== undefined
  }
}

/** A peer on a port of its own that answers nothing by itself. */
export class Script {
  readonly id: string
  readonly address: Address
  readonly received: Array<Message> = []
  /** What it answers PINGs and MEETs with; undefined for nothing. */
  answer: (() => Message) | undefined
  readonly #network: Network
  /** Connections to it. */
  readonly ends: Array<Channel> = []

  constructor(network: Network, name: string, address: Address) {
    this.#network = network
    this.id = idOf(name)
    this.address = address
    this.answer = () => this.heartbeat("Pong")
    network.hosts.set(`${address.ip}:${address.busPort}`, {
      address,
      connected: (channel) => {
        this.ends.push(channel)
        return this.#reader(channel)
      }
    })
  }

  #reader(channel: Channel): (message: Uint8Array | "end") => void {
    const view = new FrameView()
    return (bytes) => {
      if (bytes === "end") return
      assert.isUndefined(view.read(bytes, 0, bytes.length))
      const message = messageOf(view)
      this.received.push(message)
      const isAsked = message._tag === "Ping" || message._tag === "Meet"
      if (isAsked && this.answer !== undefined) channel.send(encode(this.answer()))
    }
  }

  header(fields: object = {}): Header {
    return {
      port: 0,
      currentEpoch: 0n,
      configEpoch: 0n,
      replicationOffset: 0n,
      sender: this.id,
      slots: new Uint8Array(2_048),
      replicaOf: undefined,
      ip: "",
      otherPort: 0,
      busPort: this.address.busPort,
      flags: 17,
      isClusterOk: true,
      messageFlags: 4,
      ...fields
    }
  }

  heartbeat(
    _tag: "Ping" | "Pong" | "Meet",
    header: object = {},
    rest: Partial<Pick<Message & { _tag: "Ping" }, "gossip" | "extensions">> = {}
  ): Message {
    return { _tag, header: this.header(header), gossip: [], extensions: [], ...rest }
  }

  /** Connects to a node; returns how to send, and whether the node has closed it. */
  dial(to: TestNode, from: Address = { ip: this.address.ip, busPort: 50_000 }) {
    const { near, open } = this.#network.connect(to.address)
    near.receive = this.#reader(near)
    assert.isTrue(open(from))
    const send = (...messages: ReadonlyArray<Message>) => {
      for (const message of messages) near.send(encode(message))
    }
    return {
      /** Sends what will be under way until the network is settled. */
      send,
      say: (...messages: ReadonlyArray<Message>) => {
        send(...messages)
        this.#network.settle()
      },
      isClosed: () => !near.isOpen,
      close: near.close
    }
  }
}
