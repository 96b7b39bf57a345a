/**
 * Goal: what is published works for someone who installs it, and shows nothing else.
 * Method: the package is built, packed and installed into an empty project, which imports every
 * entry, compiles against the types and runs the command. Peers are linked, so no network is used.
 */
import { execFileSync, spawnSync } from "node:child_process"
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { rolldown } from "rolldown"
import { exportsOf, sources } from "../scripts/exports.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const manifest: {
  version: string
  exports: Record<string, string>
  peerDependencies: Record<string, string>
} = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

const specifier = (entry: string) => entry.replace(/^\./, "handfast")
const entries = Object.keys(manifest.exports)
const modules = entries.filter((entry) => !entry.endsWith(".json")).map(specifier)

describe("exports", () => {
  it("are the public modules on disk (npm run exports writes them)", () => {
    assert.deepStrictEqual(manifest.exports, exportsOf(sources()))
  })

  it("leave out internals, lowercase modules and the command line", () => {
    const files = [
      "src/actors/bus/Link.ts",
      "src/actors/kernel/Actor.ts",
      "src/actors/kernel/internal/Cell.ts",
      "src/cli/Start.ts",
      "src/inspect/Page.ts",
      "src/native/io/IoPool.ts",
      "src/native/io/workerModule.ts",
      "src/native/sim/SimVerbs.ts",
      "src/native/verbs/Verbs.ts",
      "src/schema/iwarp/Mpa.ts",
      "src/testing/Faults.ts",
      "src/testing/index.ts",
      "src/testing/vitest.ts"
    ]
    assert.deepStrictEqual(Object.keys(exportsOf(files)), [
      "./package.json",
      "./Actor",
      "./bus/Link",
      "./inspect/Page",
      "./io/IoPool",
      "./iwarp/Mpa",
      "./testing",
      "./testing/Faults",
      "./testing/vitest",
      "./verbs/Sim",
      "./verbs/Verbs"
    ])
  })

  it("hold every entry that the README names", () => {
    const readme = readFileSync(join(root, "README.md"), "utf8")
    const names = [...readme.matchAll(/`(handfast(?:\/[\w/]+)?)`/g)].map(([, name]) => name!)
    assert.includeMembers(modules, names)
    assert.include(names, "handfast/Journal")
  })

  it("refuse two modules of one name", () => {
    const files = ["src/schema/bus/Frame.ts", "src/actors/bus/Frame.ts"]
    assert.throws(() => exportsOf(files), "./bus/Frame would be both")
  })
})

describe("the packed package", () => {
  const project = mkdtempSync(join(tmpdir(), "handfast-package-"))
  const installed = join(project, "node_modules/handfast")
  const node = (code: string) =>
    spawnSync(process.execPath, ["--input-type=module", "--eval", code], {
      cwd: project,
      encoding: "utf8"
    })

  beforeAll(() => {
    writeFileSync(join(project, "package.json"), '{ "type": "module", "private": true }')
    execFileSync("npm", ["pack", "--silent", "--pack-destination", project], { cwd: root })
    const [tarball] = globSync("*.tgz", { cwd: project })
    const offline = ["--offline", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"]
    execFileSync("npm", ["install", ...offline, `./${tarball}`], { cwd: project })
    for (const peer of [...Object.keys(manifest.peerDependencies), "@types/node"]) {
      const link = join(project, "node_modules", peer)
      mkdirSync(join(link, ".."), { recursive: true })
      symlinkSync(join(root, "node_modules", peer), link)
    }
  }, 180_000)

  afterAll(() => rmSync(project, { recursive: true }))

  it("holds sources and documents, and no tests", () => {
    for (const file of [
      "README.md",
      "CHANGELOG.md",
      "SECURITY.md",
      "AGENTS.md",
      "LICENSE",
      "src/index.ts"
    ]) {
      assert.isTrue(existsSync(join(installed, file)), file)
    }
    assert.deepStrictEqual(globSync("{test,bench,.ci,**/*.test.*}", { cwd: installed }), [])
  })

  it("5: has every file that the README names", () => {
    const readme = readFileSync(join(installed, "README.md"), "utf8")
    const named = [...readme.matchAll(/\b(?:examples|docs|test|src)\/[\w./-]*\.\w+/g)]
    assert.isAbove(named.length, 3)
    for (const [file] of named) assert.isTrue(existsSync(join(installed, file)), file)
  })

  it("5: the types of every entry begin with the header of its module", () => {
    for (const file of Object.values(manifest.exports)) {
      if (!file.endsWith(".js")) continue
      const source = readFileSync(
        join(installed, file.replace("dist", "src").replace(/js$/, "ts")),
        "utf8"
      )
      const [header] = /^\/\*\*[^]*?\*\//.exec(source) ?? []
      assert.isDefined(header, file)
      const types = readFileSync(join(installed, file.replace(/js$/, "d.ts")), "utf8")
      // The compiler drops a header right before an import that the types do not need.
      assert.isTrue(types.startsWith(header), `${file}: put a blank line behind the header`)
    }
  })

  it("every entry can be imported", () => {
    const { status, stderr } = node(modules.map((name) => `await import("${name}")`).join("\n"))
    assert.deepStrictEqual([status, stderr], [0, ""])
  })

  it("every entry has types", () => {
    const imports = modules.map((name, index) => `export * as m${index} from "${name}"`)
    const use = `import { Journal, type Store } from "handfast/Journal"
import type { Layer } from "effect/Layer"
export const layer: Layer<Journal> = Journal.layerMemory
// @ts-expect-error An append is declared in another file: were that not found, all would fit.
export const append: Parameters<Store["append"]>[0] = 1`
    writeFileSync(join(project, "use.ts"), [...imports, use].join("\n"))
    const flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    const tsc = join(root, "node_modules/typescript/bin/tsc")
    const lib = ["--lib", "es2024,esnext.disposable,webworker", "--types", "node"]
    const { stdout } = spawnSync(process.execPath, [tsc, ...flags, ...lib, "use.ts"], {
      cwd: project,
      encoding: "utf8"
    })
    assert.strictEqual(stdout, "")
  })

  it("internals cannot be imported", () => {
    const internals = [
      "handfast/dist/index.js",
      "handfast/actors/kernel/Journal",
      "handfast/internal/memoryJournal",
      "handfast/dist/actors/kernel/internal/memoryJournal.js",
      "handfast/src/index.ts"
    ]
    for (const name of internals) {
      assert.include(node(`await import("${name}")`).stderr, "ERR_PACKAGE_PATH_NOT_EXPORTED", name)
    }
  })

  it("source maps lead to sources that are there", () => {
    for (const file of globSync("dist/**/*.map", { cwd: installed })) {
      const map: { sources: Array<string> } = JSON.parse(
        readFileSync(join(installed, file), "utf8")
      )
      for (const source of map.sources) {
        assert.isTrue(existsSync(join(installed, file, "..", source)), `${file} -> ${source}`)
      }
    }
  })

  it("a bundled program finds its workers in the package outside of it", async () => {
    const program = `import * as Effect from "effect/Effect"
import { lengthPrefixed } from "handfast/io/Framer"
import { IoPool } from "handfast/io/IoPool"
const lane = { framer: lengthPrefixed, on: "worker" }
const echo = Effect.gen(function* () {
  const pool = yield* IoPool
  const at = { host: "127.0.0.1", port: 0 }
  const { port } = yield* pool.serve({ ...lane, at }, (client) =>
    client.run((batch) => client.send(batch.all))
  )
  const client = yield* pool.connect({ ...lane, to: { host: at.host, port } })
  client.send(Uint8Array.of(0, 0, 0, 1, 7))
  const [frame] = yield* client.take
  return [frame.at(-1), (yield* pool.stats).workers]
})
const run = echo.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 })))
console.log(String(await Effect.runPromise(run)))`
    writeFileSync(join(project, "bundled.js"), program)
    const bundle = await rolldown({
      cwd: project,
      input: "bundled.js",
      platform: "node",
      external: [/^handfast/]
    })
    await bundle.write({ dir: join(project, "bundle"), format: "esm" })
    await bundle.close()
    const { stderr, stdout } = spawnSync(process.execPath, ["bundle/bundled.js"], {
      cwd: project,
      encoding: "utf8"
    })
    assert.deepStrictEqual([stderr, stdout], ["", "7,1\n"])
  })

  it("the command runs", () => {
    const bin = join(project, "node_modules/.bin/handfast")
    const run = (...args: ReadonlyArray<string>) => {
      const { status, stdout } = spawnSync(bin, args, { encoding: "utf8" })
      assert.strictEqual(status, 0)
      return stdout
    }
    assert.include(run("--version"), manifest.version)
    // The whole story: workers, processes and the journal are found in the package as well.
    assert.include(run("start", "--seconds", "3"), "Kept")
  })
})
