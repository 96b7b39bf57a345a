/** The parts of a member that simulations replace by known-bad ones. */
import * as Context from "effect/Context"
import { Node } from "./node.ts"

export interface Parts {
  readonly Node: typeof Node
}

/** Read once, when a member starts. */
export const Parts = Context.Reference<Parts>("handfast/actors/bus/Parts", {
  defaultValue: () => ({ Node })
})
