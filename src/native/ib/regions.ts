/**
 * Registered memory of a device.
 *
 * A region that peers may reach is registered twice: with local rights, whose key work requests
 * use, and with remote rights, whose key peers use. So the local key is of no use to a peer, and
 * the remote key can be changed while work that names the region is posted.
 */
import * as Effect from "effect/Effect"
import { Resource } from "../verbs/provider/resources.ts"
import type { RegionSpec, ResourceOwner } from "../verbs/provider/domain.ts"
import { RegionMemory } from "../verbs/software/memory.ts"
import type { Access, Region } from "../verbs/Region.ts"
import type { CreateError } from "../verbs/VerbsError.ts"
import { flagsOf } from "./attributes.ts"
import { createFailure } from "./failures.ts"
import { offsets } from "./layout.ts"
import type { Pointer } from "./library.ts"
import { type OpenDevice, validateOwners } from "./openDevice.ts"

const at = offsets.ibv_mr

/** One registration of memory. */
interface Registration {
  readonly pointer: Pointer
  readonly localKey: number
  readonly remoteKey: number
}

const isRemote = (right: Access): boolean => right !== "local-write"

export class IbRegion extends RegionMemory implements Region {
  readonly resource: Resource
  readonly settled: Effect.Effect<void>
  readonly localKey: number
  readonly revoke: Effect.Effect<void>
  readonly #device: OpenDevice
  readonly #owner: ResourceOwner
  readonly #local: Registration
  /** The registration whose key peers have, and one whose key no peer has yet. */
  #remote: Registration | undefined
  #spare: Registration | undefined = undefined
  /** Whether a peer may have the remote key. */
  #isKnown = false

  constructor(
    device: OpenDevice,
    spec: RegionSpec,
    owner: ResourceOwner,
    [local, remote]: readonly [Registration, Registration | undefined]
  ) {
    super(spec, device.libraries.addressOf(spec.memory) + spec.offset, owner.domain)
    this.#device = device
    this.#owner = owner
    this.#local = local
    this.#remote = remote
    this.localKey = local.localKey
    this.settled = device.control.idle
    this.resource = new Resource("region", owner.owners, () => this.#released())
    this.revoke = Effect.suspend(() => this.#revoke())
  }

  get remoteKey(): number {
    this.#isKnown = true
    return this.#remote?.remoteKey ?? 0
  }

  renewKey(): number {
    // The key of a registration is new until it is read.
    if (this.#isKnown) {
      this.#endRemote()
      this.#remote = this.#spare
      this.#spare = undefined
    }
    return this.remoteKey
  }

  #endRemote(): void {
    const remote = this.#remote
    this.#remote = undefined
    if (remote !== undefined) this.#deregister(remote)
  }

  #deregister({ pointer }: Registration): void {
    const { control, libraries, registered } = this.#device
    control.addRelease(async () => {
      await libraries.later("ibv_dereg_mr", pointer)
      registered.delete(pointer)
    })
  }

  /** Returns when the key is void, with the next one at hand. */
  #revoke(): Effect.Effect<void> {
    const { control } = this.#device
    this.#endRemote()
    if (this.access.some(isRemote)) {
      control.addRelease(async () => {
        if (this.isReleased || this.#spare !== undefined) return
        const spare = await register(this.#device, this.#owner, this, this.access)
        if (this.isReleased) this.#deregister(spare)
        else this.#spare = spare
      })
    }
    return control.idle
  }

  #released(): void {
    this.isReleased = true
    this.#endRemote()
    if (this.#spare !== undefined) this.#deregister(this.#spare)
    this.#spare = undefined
    this.#deregister(this.#local)
  }
}

const register = async (
  device: OpenDevice,
  { domain, owners }: ResourceOwner,
  { length, memory, offset }: Pick<RegionSpec, "length" | "memory" | "offset">,
  access: ReadonlyArray<Access>
): Promise<Registration> => {
  const { domains, libraries, registered } = device
  const address = libraries.addressOf(memory) + offset
  const flags = flagsOf(access)
  return device.create(
    owners,
    "ibv_dereg_mr",
    () => libraries.later("ibv_reg_mr", domains.get(domain)!, address, length, flags),
    (pointer) => {
      registered.set(pointer, memory)
      return {
        pointer,
        localKey: libraries.uint32At(pointer + at.lkey),
        remoteKey: libraries.uint32At(pointer + at.rkey)
      }
    }
  )
}

/** Registers a region. */
export const registerRegion = (
  device: OpenDevice,
  spec: RegionSpec,
  owner: ResourceOwner
): Effect.Effect<IbRegion, CreateError> =>
  device.control
    .run(async () => {
      const rights = spec.access.filter((right) => !isRemote(right))
      const local = await register(device, owner, spec, rights)
      let remote: Registration | undefined
      try {
        if (spec.access.some(isRemote)) remote = await register(device, owner, spec, spec.access)
        validateOwners(owner.owners)
        return new IbRegion(device, spec, owner, [local, remote])
      } catch (error) {
        for (const made of [local, remote]) {
          if (made === undefined) continue
          await device.libraries.later("ibv_dereg_mr", made.pointer)
          device.registered.delete(made.pointer)
        }
        throw error
      }
    })
    .pipe(
      Effect.mapError((failure) => createFailure(device.info.name, "region", spec.length, failure))
    )
