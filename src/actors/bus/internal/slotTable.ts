/**
 * Which primary serves each slot, by what primaries say about themselves and others. Pure.
 *
 * For each slot the claim of the highest configuration epoch wins, and an equal one leaves the slot
 * where it is. A slot that its owner no longer claims stays with it until another node claims it:
 * no reader sees a slot without owner in the middle of a failover.
 */
import { copyOf } from "../../../schema/copyBytes.ts"
import { hasSlot, slotCount, type SlotRange } from "../../../schema/bus/Slots.ts"

/** A run of slots with one owner. */
export interface SlotOwner {
  readonly slots: SlotRange
  readonly id: string
}

interface Claim {
  readonly id: string
  epoch: bigint
  /** The slots of the last claim: every full frame repeats them. */
  slots: Uint8Array
  hasSlots: boolean
  /** The epoch of the last claim, and the revision of the table in which it was compared. */
  comparedEpoch: bigint
  revision: number
}

const noSlots = new Uint8Array(0)

const noClaim = (id: string): Claim => {
  return { id, epoch: 0n, slots: noSlots, hasSlots: false, comparedEpoch: 0n, revision: -1 }
}

export class SlotTable {
  /** Index of the owner in `#claims` for each slot, plus 1; 0 for none. */
  readonly #owners = new Uint16Array(slotCount)
  readonly #claims: Array<Claim> = []
  readonly #indices = new Map<string, number>()
  /** Grows when a slot changes its owner. */
  #revision = 0

  get revision(): number {
    return this.#revision
  }

  /** Takes a claim, and returns whether it moved any slot. */
  claim(id: string, epoch: bigint, slots: Uint8Array): boolean {
    const index = this.#indexOf(id)
    const claim = this.#claims[index - 1]!
    const isSame = Buffer.compare(claim.slots, slots) === 0
    const isCompared = claim.revision === this.#revision && epoch <= claim.comparedEpoch
    if (isSame && isCompared) return false
    if (!isSame) {
      claim.slots = copyOf(slots, 0, slots.length)
      claim.hasSlots = claim.slots.some((byte) => byte !== 0)
    }
    // The epoch of an owner is that of its newest claim: it never goes back.
    if (epoch > claim.epoch) claim.epoch = epoch
    const hasMoved = this.#move(index, epoch, slots)
    if (hasMoved) this.#revision++
    claim.comparedEpoch = epoch
    claim.revision = this.#revision
    return hasMoved
  }

  /** Whether the last claim of a node was to any slot. */
  claimsSlots(id: string): boolean {
    const index = this.#indices.get(id)
    return index !== undefined && this.#claims[index - 1]!.hasSlots
  }

  #move(index: number, epoch: bigint, slots: Uint8Array): boolean {
    let hasMoved = false
    for (let byte = 0; byte < slots.length; byte++) {
      if (slots[byte] === 0) continue
      for (let slot = 8 * byte; slot < 8 * byte + 8; slot++) {
        if (!hasSlot(slots, slot)) continue
        const owner = this.#owners[slot]!
        if (owner === index || (owner !== 0 && this.#claims[owner - 1]!.epoch >= epoch)) continue
        this.#owners[slot] = index
        hasMoved = true
      }
    }
    return hasMoved
  }

  /** Takes a node out, and returns whether it had any slot. */
  remove(id: string): boolean {
    const index = this.#indices.get(id)
    if (index === undefined) return false
    let hadAny = false
    for (let slot = 0; slot < slotCount; slot++) {
      if (this.#owners[slot] !== index) continue
      this.#owners[slot] = 0
      hadAny = true
    }
    this.#claims[index - 1] = noClaim(id)
    this.#revision++
    return hadAny
  }

  isOwner(id: string): boolean {
    const index = this.#indices.get(id)
    return index !== undefined && this.#owners.includes(index)
  }

  ownerOf(slot: number): string | undefined {
    return this.#claims[this.#owners[slot]! - 1]?.id
  }

  /** All slots that have an owner, as ranges in order. */
  get owners(): ReadonlyArray<SlotOwner> {
    const owners: Array<SlotOwner> = []
    let first = 0
    for (let slot = 1; slot <= slotCount; slot++) {
      if (slot < slotCount && this.#owners[slot] === this.#owners[first]) continue
      const id = this.ownerOf(first)
      if (id !== undefined) owners.push({ slots: [first, slot - 1], id })
      first = slot
    }
    return owners
  }

  #indexOf(id: string): number {
    const known = this.#indices.get(id)
    if (known !== undefined) return known
    this.#claims.push(noClaim(id))
    this.#indices.set(id, this.#claims.length)
    return this.#claims.length
  }
}
