/** Keeps the books of a simulation of transfers, outside of all hosts. */
import type * as Effect from "effect/Effect"
import type { Description } from "../../../actors/rdma/Directory.ts"

/** One life of a host. */
export interface Life {
  /** As it is now: a card that was pulled out has other keys when it is back. */
  readonly description: Effect.Effect<Description>
  /** What others write: the memory of each registration in this life, the newest last. */
  readonly inboxes: ReadonlyArray<Uint8Array>
}

export class Witness {
  readonly #lives = new Map<string, Life>()
  /** Transfers that moved, by `from to`. */
  #moved = new Map<string, number>()
  /** Transfers that were accepted by hosts that are still alive, and have not ended. */
  readonly #underWay = new Map<Life, Set<number>>()
  complaint: string | undefined = undefined
  isOver = false
  #count = 0

  /** A host has begun a life; what its last one had under way ended with it. */
  begin(name: string, life: Life): void {
    const before = this.#lives.get(name)
    if (before !== undefined) this.#underWay.delete(before)
    this.#lives.set(name, life)
    this.#underWay.set(life, new Set())
  }

  lifeOf(name: string): Life | undefined {
    return this.#lives.get(name)
  }

  accept(life: Life): number {
    const transfer = ++this.#count
    this.#underWay.get(life)?.add(transfer)
    return transfer
  }

  end(life: Life, transfer: number): void {
    const mine = this.#underWay.get(life)
    if (mine?.delete(transfer) === false) this.complaint ??= `transfer ${transfer} ended twice`
  }

  /** A transfer is said to have moved. */
  moved(from: string, to: string): void {
    const way = `${from} ${to}`
    this.#moved.set(way, (this.#moved.get(way) ?? 0) + 1)
  }

  get underWay(): number {
    let count = 0
    for (const transfers of this.#underWay.values()) count += transfers.size
    return count
  }

  get snapshot(): ReadonlyMap<string, number> {
    return new Map(this.#moved)
  }

  everyWayMovedSince(names: ReadonlyArray<string>, before: ReadonlyMap<string, number>): boolean {
    return names.every((from) =>
      names.every((to) => {
        const way = `${from} ${to}`
        return from === to || (this.#moved.get(way) ?? 0) > (before.get(way) ?? 0)
      })
    )
  }
}
