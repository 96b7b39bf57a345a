/** A process of the demo, as the orchestrator controls it. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { FromProcess, ProcessOptions, ToProcess } from "./messages.ts"

/** Starts, kills and restarts a process of the demo, and counts its reports. */
export class DemoProcess {
  readonly part: ProcessOptions
  readonly #copied: (process: DemoProcess) => void
  #child: ChildProcess | undefined
  meetingPort = 0
  /** Pieces of earlier lives, and of this one. */
  before = 0
  pieces = 0
  wrong = 0
  staleDropped = 0
  resent = 0

  /** `copied` is called when the process has copied a piece. */
  constructor(part: ProcessOptions, copied: (process: DemoProcess) => void) {
    this.part = part
    this.#copied = copied
  }

  /** Begins a life; returns when it runs. */
  async begin(): Promise<void> {
    this.before += this.pieces
    this.pieces = 0
    const child = fork(process.argv[1]!, ["part", JSON.stringify(this.part)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`${this.part.name} could not begin`)))
      child.on("message", (message: FromProcess) => {
        if (message._tag === "Up") {
          this.meetingPort = message.meetingPort
          resolve()
        } else this.#onMessage(message)
      })
    })
  }

  tell(message: ToProcess): void {
    if (this.#child?.connected === true) this.#child.send(message)
  }

  async kill(): Promise<void> {
    const child = this.#child!
    child.kill("SIGKILL")
    await once(child, "exit")
  }

  async stop(): Promise<void> {
    this.checkAlive()
    this.tell({ _tag: "Stop" })
    await once(this.#child!, "exit")
  }

  /** Throws if the process has ended although the demo has not stopped it. */
  checkAlive(): void {
    const { exitCode, signalCode } = this.#child!
    if (exitCode === null && signalCode === null) return
    throw new Error(`${this.part.name} has ended by itself`)
  }

  end(): void {
    this.#child?.kill("SIGKILL")
  }

  #onMessage(message: Exclude<FromProcess, { _tag: "Up" }>): void {
    if (message._tag === "Moved") {
      if (message.pieces > this.pieces) this.#copied(this)
      this.pieces = message.pieces
    } else if (message._tag === "Wrong") this.wrong += 1
    else {
      this.staleDropped += message.staleDropped
      this.resent += message.resent
    }
  }
}
