/**
 * Runs programs of tests in a copy of the sources with a planted defect. Node
 * imports the copy by itself, so nothing of it is shared with the sources but the dependencies.
 */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { actors } from "../scripts/plantedActors.ts"
import { fabric } from "../scripts/plantedFabric.ts"
import { copyOf, plant } from "../scripts/planting.ts"
import type { Sim } from "../src/testing/index.ts"

const defectOf = (number: string) => {
  const defect = [...actors, ...fabric].find((defect) => defect.number === number)
  if (defect === undefined) throw new Error(`no defect has the number ${number}`)
  return defect
}

export const plantedName = (number: string): string => defectOf(number).what

/** Calls `use` with a module, and the simulator, of a copy of the sources with one defect. */
export const withPlanted = async <Module, A>(
  number: string,
  module: string,
  use: (module: Module, simulator: typeof Sim) => Promise<A>
): Promise<A> => {
  const copy = copyOf(["src", "test/actors", "test/native", "test/wide.ts", "package.json"])
  const load = (file: string): Promise<unknown> =>
    import(/* @vite-ignore */ pathToFileURL(join(copy, file)).href)
  try {
    plant(copy, defectOf(number))
    const planted = (await load(module)) as Module
    const { Sim: simulator } = (await load("src/testing/index.ts")) as { readonly Sim: typeof Sim }
    return await use(planted, simulator)
  } finally {
    rmSync(copy, { recursive: true })
  }
}

interface Program {
  readonly program: Effect.Effect<void, unknown, Scope.Scope>
}

/** Explores `program` of a module of test/actors/kernel with one defect. */
export const explorePlanted = (
  number: string,
  module: string,
  settings: Sim.Settings
): Promise<Sim.Report> =>
  withPlanted<Program, Sim.Report>(
    number,
    `test/actors/kernel/${module}.ts`,
    ({ program }, simulator) => Effect.runPromise(simulator.explore(program, settings))
  )
