/**
 * A scripted Mooncake: one listener thread that serves one call after the other, in the order in
 * which they came, and needs its time to set up queue pairs.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { encode, FrameReader, FrameType } from "../../../src/schema/mooncake/Frame.ts"

/** What a handshake says, as Mooncake writes it. */
interface Said {
  readonly local_gid: string
  readonly local_nic_path: string
  readonly peer_nic_path: string
  readonly qp_num: ReadonlyArray<number>
  readonly ready_ack?: boolean
}

/** Lets so many milliseconds pass. */
type Pass = (millis: number) => Promise<void>

const inRealTime: Pass = (millis) => new Promise((resolve) => setTimeout(resolve, millis))

export class SlowMooncake {
  readonly #millis: number
  readonly #pass: Pass
  readonly #waiting: Array<() => Promise<void>> = []
  #isServing = false
  #number = 100
  /** Queue pairs of the peers that it answered, by both paths, and its own for them. */
  readonly #known = new Map<string, { readonly theirs: string; readonly ours: Array<number> }>()
  /** Calls that were answered, of each kind. */
  readonly served = { offers: 0, acks: 0 }
  /** The most calls that it served between an offer and its acknowledgement. */
  longestWait = 0
  readonly #offeredAt = new Map<string, number>()
  /** Calls that are open, and the most there ever were. */
  open = 0
  most = 0
  /** Callers that closed before their answer: each of them ends the real one by SIGPIPE. */
  brokenPipes = 0

  /** `millis` for each handshake. The time passes by the clock of the machine, unless told how. */
  constructor(millis: number, pass = inRealTime) {
    this.#millis = millis
    this.#pass = pass
  }

  /** Listens until the Scope closes, and gives its port. */
  get listen(): Effect.Effect<number, never, Scope.Scope> {
    const sockets = new Set<net.Socket>()
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      this.#take(socket)
    })
    return Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () =>
          resume(Effect.succeed((server.address() as net.AddressInfo).port))
        )
      }),
      () =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
  }

  /** Others have calls in its queue, which take so long. */
  keepBusy(millis: number): void {
    this.#waiting.push(() => this.#pass(millis))
    void this.#serve()
  }

  #take(socket: net.Socket): void {
    this.most = Math.max(this.most, ++this.open)
    let isAnswered = false
    const closed = () => {
      if (!isAnswered) this.brokenPipes += 1
    }
    socket.once("end", closed)
    socket.on("error", () => {})
    socket.once("close", () => void (this.open -= 1))
    const reader = new FrameReader()
    socket.on("data", (piece) => {
      reader.push(piece)
      const { frame } = reader
      if (frame === undefined) return
      this.#waiting.push(async () => {
        const answer = await this.#answer(JSON.parse(frame.text))
        isAnswered = true
        const text = `${JSON.stringify(answer)}\n`
        socket.end(encode({ type: FrameType.connection, framing: "typed", text }))
      })
      void this.#serve()
    })
  }

  async #serve(): Promise<void> {
    if (this.#isServing) return
    this.#isServing = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await next()
    }
    this.#isServing = false
  }

  async #answer(said: Said): Promise<object> {
    const theirs = said.qp_num.join()
    const path = `${said.local_nic_path} ${said.peer_nic_path}`
    const known = this.#known.get(path)
    const at = this.served.offers + this.served.acks
    if (said.ready_ack === true) {
      this.served.acks += 1
      const waited = at - this.#offeredAt.get(path)!
      this.longestWait = Math.max(this.longestWait, waited)
      const text = known === undefined ? "Received RDMA ready ACK for unconnected endpoint" : ""
      return { ...nothing, reply_msg: text }
    }
    this.served.offers += 1
    this.#offeredAt.set(path, at)
    let ours = known?.ours
    // The queue pairs that it knows need no work again.
    if (known?.theirs !== theirs || ours === undefined) {
      await this.#pass(this.#millis)
      ours = said.qp_num.map(() => this.#number++)
      this.#known.set(path, { theirs, ours })
    }
    return {
      ...nothing,
      local_gid: said.local_gid,
      local_nic_path: said.peer_nic_path,
      peer_nic_path: said.local_nic_path,
      qp_num: ours,
      ready_ack: false
    }
  }
}

const nothing = {
  local_gid: "",
  local_lid: 0,
  local_nic_path: "",
  payload: "",
  peer_nic_path: "",
  qp_num: new Array<number>(),
  reply_msg: ""
}
