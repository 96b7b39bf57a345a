/**
 * The local NICs that endpoints and transfers share: the work of an endpoint completes in the queue
 * of its NIC, and uses memory that is registered there.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  type CreateError,
  type DeviceOpenError,
  InvalidAttribute
} from "../../native/verbs/VerbsError.ts"
import type { Verbs } from "../../native/verbs/Verbs.ts"
import { type Nic, open, type Options } from "./Nic.ts"

/** The local NICs. */
export class Nics extends Context.Service<Nics, ReadonlyArray<Nic>>()("handfast/actors/rdma/Nics") {
  /** Opens NICs. */
  static readonly layer = (
    nics: ReadonlyArray<Options>
  ): Layer.Layer<Nics, DeviceOpenError | CreateError, Verbs> =>
    Layer.effect(Nics, Effect.andThen(validate(nics), Effect.forEach(nics, open)))
}

/** Checks that paths are unique: peers and the histories of endpoints name NICs by them. */
const validate = (nics: ReadonlyArray<Options>): Effect.Effect<void, InvalidAttribute> => {
  const paths = nics.map(({ path }) => path)
  const twice = paths.find((path, index) => paths.indexOf(path) < index)
  if (nics.length > 0 && twice === undefined) return Effect.void
  const detail = twice === undefined ? "there is none" : `${twice} is there twice`
  return Effect.fail(new InvalidAttribute({ operation: "open", attribute: "nics", detail }))
}
