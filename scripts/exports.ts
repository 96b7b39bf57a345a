/**
 * Writes the `exports` of package.json from what lies on disk: `npm run exports`.
 *
 * A public module is a file with a PascalCase name in a library folder. Its entry is its path
 * without the name of the layer: `handfast/Journal` is `src/actors/kernel/Journal.ts`, and
 * `handfast/iwarp/Mpa` is `src/schema/iwarp/Mpa.ts`. The layers of the RDMA providers lie together:
 * `handfast/verbs/Sim` is `src/native/sim/SimVerbs.ts`. Modules with another name, in a folder
 * `internal` or of the command line stay private.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))

const named = new Map([
  ["src/index.ts", "."],
  ["src/testing/index.ts", "./testing"],
  ["src/testing/vitest.ts", "./testing/vitest"]
])

/** The name that a source file is imported by, if it is public. */
export const entryOf = (file: string): string | undefined => {
  if (named.has(file)) return named.get(file)
  if (!/^[A-Z]/.test(basename(file)) || /^src\/cli\/|\/internal\//.test(file)) return undefined
  const provider = /^src\/native\/\w+\/([A-Z]\w*)Verbs\.ts$/.exec(file)
  if (provider !== null) return `./verbs/${provider[1]}`
  return file.replace(/^src\/(schema|native|actors(\/kernel)?)?\/?/, "./").replace(/\.ts$/, "")
}

/** The `exports` that belong to a list of source files. Two modules of one name are an error. */
export const exportsOf = (files: ReadonlyArray<string>): Record<string, string> => {
  const entries = new Map<string, string>()
  for (const file of files.toSorted()) {
    const entry = entryOf(file)
    if (entry === undefined) continue
    const target = file.replace(/^src/, "./dist").replace(/ts$/, "js")
    const other = entries.get(entry)
    if (other !== undefined) throw new Error(`${entry} would be both ${other} and ${target}`)
    entries.set(entry, target)
  }
  const sorted = [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { "./package.json": "./package.json", ...Object.fromEntries(sorted) }
}

/** The source files of this project, as paths from its root. */
export const sources = (): ReadonlyArray<string> => globSync("src/**/*.ts", { cwd: root })

if (import.meta.main) {
  const file = `${root}package.json`
  const manifest = JSON.parse(readFileSync(file, "utf8"))
  manifest.exports = exportsOf(sources())
  writeFileSync(file, JSON.stringify(manifest, null, 2) + "\n")
}
