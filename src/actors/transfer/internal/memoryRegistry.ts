/** The memory of an engine, by its names. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type CreateError, InvalidAttribute } from "../../../native/verbs/VerbsError.ts"
import type { EpochSource } from "../../../schema/Epoch.ts"
import type { PeerBuffer } from "../../rdma/Directory.ts"
import {
  DescriptionFull,
  type Memory,
  NameTaken,
  type Options,
  register,
  type RegisteredMemory
} from "../../rdma/Memory.ts"
import type { Nic } from "../../rdma/Nic.ts"
import * as Segment from "../../rdma/Segment.ts"

export class MemoryRegistry {
  readonly #nics: () => ReadonlyArray<Nic>
  readonly #epochs: EpochSource
  /** The limit of bytes in which all memory is described to peers. */
  readonly #describedBytes: number
  readonly #memories = new Map<string, RegisteredMemory>()
  /** Names of memory that is being registered. */
  readonly #reserved = new Set<string>()
  /** Callers that wait for memory of a name. */
  readonly #wanted = new Map<string, Set<(memory: RegisteredMemory) => void>>()
  #unnamed = 0
  #toldBytes = 0

  constructor(nics: () => ReadonlyArray<Nic>, epochs: EpochSource, describedBytes: number) {
    this.#nics = nics
    this.#epochs = epochs
    this.#describedBytes = describedBytes
  }

  get all(): ReadonlyMap<string, RegisteredMemory> {
    return this.#memories
  }

  /** The buffers that are described to peers. */
  get buffers(): ReadonlyArray<PeerBuffer> {
    return [...this.#memories.values()].flatMap(({ buffers }) => buffers)
  }

  /** Registers memory until the Scope closes; `release` ends its use before its regions go. */
  register(
    options: Options,
    release: (memory: RegisteredMemory) => Effect.Effect<void>
  ): Effect.Effect<Memory, CreateError | NameTaken | DescriptionFull, Scope.Scope> {
    return Effect.suspend(() => {
      const { name = `memory-${++this.#unnamed}` } = options
      // Peers refuse a description in which one buffer has no name.
      if (typeof name !== "string" || name === "") {
        const invalid = { operation: "register", attribute: "name" }
        return Effect.fail(new InvalidAttribute({ ...invalid, detail: "it is no text, or empty" }))
      }
      return Effect.acquireUseRelease(
        this.#reserve(name),
        () => orNothing(this.#register(name, options, release)),
        () => Effect.sync(() => void this.#reserved.delete(name))
      )
    })
  }

  /** The memory of a name, once it is registered. */
  named(name: string): Effect.Effect<Memory> {
    return Effect.callback<Memory>((resume) => {
      const memory = this.#memories.get(name)
      if (memory !== undefined) return resume(Effect.succeed(memory))
      const tell = (found: Memory) => resume(Effect.succeed(found))
      const waiting = this.#wanted.get(name) ?? new Set()
      this.#wanted.set(name, waiting.add(tell))
      return Effect.sync(() => {
        waiting.delete(tell)
        if (waiting.size === 0 && this.#wanted.get(name) === waiting) this.#wanted.delete(name)
      })
    })
  }

  /** Reserves a name during its registration, which takes some time on real devices. */
  #reserve(name: string): Effect.Effect<void, NameTaken> {
    return Effect.suspend(() => {
      if (this.#memories.has(name) || this.#reserved.has(name)) {
        return Effect.fail(new NameTaken({ name }))
      }
      this.#reserved.add(name)
      return Effect.void
    })
  }

  readonly #register = Effect.fnUntraced(
    { self: this },
    function* (
      this: MemoryRegistry,
      name: string,
      options: Options,
      release: (memory: RegisteredMemory) => Effect.Effect<void>
    ): Effect.fn.Return<Memory, CreateError | DescriptionFull, Scope.Scope> {
      const nics = this.#nics()
      const memory = yield* register(nics, name, options, this.#epochs.next())
      const paths = nics.map(({ path }) => path)
      const added = memory.buffers
        .filter(({ keys }) => keys.length > 0)
        .reduce((sum, buffer) => sum + Segment.bytesOf(buffer, paths), 0)
      yield* Effect.acquireRelease(
        // Others may have been added while this one was registered.
        Effect.suspend(() => {
          const [bytes, limit] = [this.#toldBytes + added, this.#describedBytes]
          if (bytes > limit) return Effect.fail(new DescriptionFull({ name, bytes, limit }))
          this.#memories.set(name, memory)
          this.#toldBytes = bytes
          return Effect.void
        }),
        // Runs before the regions are released: work that uses them must have ended by then.
        () =>
          Effect.suspend(() => {
            memory.isReleased = true
            this.#memories.delete(name)
            this.#toldBytes -= added
            return release(memory)
          })
      )
      for (const tell of this.#wanted.get(name) ?? []) tell(memory)
      this.#wanted.delete(name)
      return memory
    }
  )
}

/** What an effect that fails has acquired is released at once, not with the Scope of its caller. */
const orNothing = <A, E>(
  effect: Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    return yield* Effect.onExit(Scope.provide(effect, scope), (exit) =>
      Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
    )
  })
