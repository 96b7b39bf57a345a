/** The simulations that `handfast simulate` knows: one line each. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as BusSimulation from "../testing/BusSimulation.ts"
import * as EndpointSimulation from "../testing/EndpointSimulation.ts"
import * as RpcSimulation from "../testing/RpcSimulation.ts"

/** Settings of a simulation for all of its runs. */
export interface Setup {
  readonly gate: "on" | "off"
  /** A known defect, by its name. */
  readonly plant: string | undefined
  /** Counts messages that came before the peer could receive them. */
  readonly onEarlyPosts: (count: number) => void
}

export interface Simulation {
  /** The defects that can be planted. */
  readonly defects: ReadonlyArray<string>
  readonly program: (setup: Setup) => Effect.Effect<void, unknown, Scope.Scope>
}

export const simulations: Readonly<Record<string, Simulation>> = {
  bus: {
    defects: BusSimulation.variants,
    program: ({ gate, plant }) =>
      BusSimulation.program({ gate, variant: plant as BusSimulation.Variant | undefined })
  },
  endpoint: {
    defects: EndpointSimulation.defects,
    program: ({ plant, ...setup }) =>
      EndpointSimulation.program({ ...setup, plant: plant as EndpointSimulation.Planted })
  },
  rpc: {
    defects: RpcSimulation.variants,
    program: ({ onEarlyPosts, plant }) =>
      RpcSimulation.program({
        variant: plant as RpcSimulation.Variant | undefined,
        onRnrs: onEarlyPosts
      })
  }
}
