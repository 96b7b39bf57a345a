/**
 * Goal: a program loads what it uses. The services load no provider, and a provider not the other.
 * Method: a process of its own imports one module and reports which of ours were loaded with it.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const src = new URL("../../../src/", import.meta.url)

/** The modules that `import(path)` loads, as paths within `src`. */
const loadedBy = (path: string): ReadonlyArray<string> => {
  const program = `
    import { registerHooks } from "node:module"
    const loaded = []
    registerHooks({
      load: (url, context, next) => {
        if (url.startsWith(${JSON.stringify(src.href)})) loaded.push(url)
        return next(url, context)
      }
    })
    await import(${JSON.stringify(new URL(path, src).href)})
    console.log(JSON.stringify(loaded))
  `
  const flags = ["--no-warnings", "--input-type=module", "-e", program]
  const printed = execFileSync(process.execPath, flags, { cwd: fileURLToPath(src) })
  const urls: ReadonlyArray<string> = JSON.parse(printed.toString())
  return urls.map((url) => url.slice(src.href.length))
}

const within = (folder: string, modules: ReadonlyArray<string>): ReadonlyArray<string> =>
  modules.filter((path) => path.startsWith(`${folder}/`))

const providers = ["native/sim", "native/iwarp", "native/ib", "native/sqlite"]

describe("loading a module", () => {
  it("verbs/Verbs: loads at most 5 modules, none of a provider", () => {
    const loaded = loadedBy("native/verbs/Verbs.ts")
    assert.isAtMost(loaded.length, 5, loaded.join("\n"))
    for (const folder of [...providers, "native/io"]) assert.isEmpty(within(folder, loaded))
  })

  it("TransferEngine: loads at most 90 modules, none of a provider or of SQLite", () => {
    const loaded = loadedBy("actors/transfer/TransferEngine.ts")
    assert.isAtMost(loaded.length, 90, loaded.join("\n"))
    for (const folder of providers) assert.isEmpty(within(folder, loaded))
  })

  it("a provider: loads no module of another one", () => {
    const sim = loadedBy("native/sim/SimVerbs.ts")
    assert.isNotEmpty(within("native/sim", sim))
    for (const folder of ["native/iwarp", "native/io"]) assert.isEmpty(within(folder, sim))
    const iwarp = loadedBy("native/iwarp/IwarpVerbs.ts")
    assert.isNotEmpty(within("native/iwarp", iwarp))
    assert.isEmpty(within("native/sim", iwarp))
  })
})
