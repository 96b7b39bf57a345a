/**
 * Explores a program of test/actors/kernel in a copy of the sources with a planted defect. Node
 * imports the copy by itself, so nothing of it is shared with the sources but the dependencies.
 */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { actors } from "../scripts/plantedActors.ts"
import { copyOf, plant } from "../scripts/planting.ts"
import type { Sim } from "../src/testing/index.ts"

const defectOf = (number: string) => {
  const defect = actors.find((defect) => defect.number === number)
  if (defect === undefined) throw new Error(`no defect has the number ${number}`)
  return defect
}

export const plantedName = (number: string): string => defectOf(number).what

interface Module {
  readonly program: Effect.Effect<void, unknown, Scope.Scope>
}

/** Runs `program` of a module with one defect of scripts/plantedActors.ts. */
export const explorePlanted = async (
  number: string,
  module: string,
  settings: Sim.Settings
): Promise<Sim.Report> => {
  const copy = copyOf(["src", "test/actors", "package.json"])
  const load = (file: string): Promise<unknown> =>
    import(/* @vite-ignore */ pathToFileURL(join(copy, file)).href)
  try {
    plant(copy, defectOf(number))
    const { program } = (await load(`test/actors/kernel/${module}.ts`)) as Module
    const { Sim: copied } = (await load("src/testing/index.ts")) as { readonly Sim: typeof Sim }
    return await Effect.runPromise(copied.explore(program, settings))
  } finally {
    rmSync(copy, { recursive: true })
  }
}
