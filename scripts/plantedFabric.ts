/** Defects of the simulated fabric, which the contract of providers or a simulation must find. */
import type { Defect } from "./planting.ts"

const planted = (
  number: string,
  what: string,
  file: string,
  from: string,
  to: string,
  test = "native/verbs/contract"
): Defect => ({ number, what, file: `src/native/${file}.ts`, from, to, test, name: what })

const simulated = "native/verbs/fabric.sim"

/** Lets an access through that is refused for this reason. */
const forgive = (refusal: string): string => `let at = this.#reach(region, right, message)
    if (at < 0) {
      if (at !== AccessRefusal.${refusal}) return this.#refuseReach(at)
      at = message.remoteHigh * 2 ** 32 + message.remoteLow - region!.address
    }`

const refuse = `const at = this.#reach(region, right, message)
    if (at < 0) return this.#refuseReach(at)`

export const fabric: ReadonlyArray<Defect> = [
  planted(
    "V1",
    "a queue pair receives before it is ready",
    "sim/queuePair",
    "this.#countUnheard(message)\n      return undefined",
    'return this.state === "init" ? { _tag: "Done", fetched: new Uint8Array(0) } : undefined'
  ),
  planted(
    "V2",
    "a failure flushes nothing",
    "verbs/software/queuePair",
    "    this.sends.flush()\n    this.receives.flush()\n",
    ""
  ),
  planted(
    "V3",
    "a message waits for a receive for ever",
    "sim/requester",
    'if (isOver) return this.#queuePair.failSend("rnr-retry-exceeded")',
    "void isOver"
  ),
  planted("V4", "rights are not checked", "sim/responder", refuse, forgive("noRight")),
  planted("V5", "bounds are not checked", "sim/responder", refuse, forgive("outside")),
  planted(
    "V6",
    "protection domains are not checked",
    "sim/responder",
    refuse,
    forgive("otherDomain")
  ),
  planted(
    "V7",
    "a long message is cut",
    "sim/responder",
    "const length = message.bytes",
    "const length = Math.min(message.bytes, scatterList.byteLength)"
  ),
  planted("V8", "a key stays valid", "sim/responder", "    region?.revokeUnsafe()\n", ""),
  planted(
    "V9",
    "a write ends before it is done",
    "sim/responder",
    "memory.set(message.payload)",
    "this.#network.after(50, () => memory.set(message.payload))"
  ),
  planted(
    "V10",
    "a reset forgets what was posted",
    "sim/queuePair",
    'this.halt("reset", "disconnected")',
    `for (const { counters } of [this.sends, this.receives]) {
            while (counters.outstanding > 0) counters.end()
          }
          this.halt("reset", "disconnected")`
  ),
  planted(
    "V11",
    "an accept does not wait for the peer",
    "sim/connection",
    "if (yield* Deferred.await(isReady)) return",
    "if (isReady !== undefined) return"
  ),
  planted(
    "V12",
    "private data is lost",
    "sim/connection",
    "this.setNegotiated({ privateData: other.privateData,",
    "this.setNegotiated({ privateData: this.privateData,"
  ),
  planted(
    "V13",
    "a peer is not told of the end",
    "sim/connection",
    "nic.network.manage(nic, other.gid, () => other.disconnected())",
    "void other"
  ),
  planted(
    "V14",
    "a connection outlives its queue pair",
    "sim/queuePair",
    "    super.halt(state, why)",
    "    this.connection = undefined\n    super.halt(state, why)"
  ),
  planted(
    "V15",
    "a buffer has several addresses",
    "sim/device",
    "nic.network.memory.of(spec.memory)",
    "nic.network.memory.of(new SharedArrayBuffer(spec.memory.byteLength))"
  ),
  planted(
    "V16",
    "a repeated message takes effect again",
    "sim/responder",
    "if (distance < 0) return this.#repeat(message)",
    "",
    simulated
  ),
  planted(
    "V17",
    "any answer ends the oldest work",
    "sim/requester",
    "if (isStale) return\n    if (!this.#endBefore(index))",
    "if (!isStale && !this.#endBefore(index))",
    simulated
  ),
  planted(
    "V18",
    "a good end is reported twice",
    "sim/requester",
    'sends.end("success", fetched.length)',
    'sends.end("success", fetched.length)\n    sends.end("success", 0)',
    simulated
  )
]
