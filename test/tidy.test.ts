/**
 * Goal: the house rules hold for every file, and each rule can see an offence.
 * Method: pure rules over paths and texts, applied to the files on disk and to planted offences.
 */
import { globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import {
  betweenProviders,
  betweenSiblings,
  cycles,
  effectInWorkers,
  missing,
  unreached,
  upward
} from "./tidy/graph.ts"
import { graphOf, type Source } from "./tidy/imports.ts"
import { bannedWords, longFiles, longFunctions, machinePaths, wideLines } from "./tidy/text.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

const read = (...patterns: ReadonlyArray<string>): ReadonlyArray<Source> =>
  globSync(patterns, { cwd: root, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => `${file.parentPath}/${file.name}`.slice(root.length))
    .map((path) => ({ path, text: readFileSync(root + path, "utf8") }))

const none = (offences: ReadonlyArray<string>) => assert.strictEqual(offences.join("\n"), "")

const manifest: { exports: Record<string, string>; bin: Record<string, string> } = JSON.parse(
  readFileSync(`${root}package.json`, "utf8")
)

describe("the files of this project", () => {
  const code = read("src/**/*.ts")
  const tools = read("{bench,examples,scripts}/**/*.ts", "*.ts")
  const tests = read("test/**/*.ts")
  const prose = read("*.{md,json}", "docs/**/*.md", ".ci/*", "scripts/{peers,vm/*}")
  const graph = graphOf(code)

  it("import downward only", () => none(upward(graph)))
  it("import of a sibling under actors only what it stands on, and exports", () =>
    none(betweenSiblings(graph)))
  it("import no provider of verbs into verbs, and no software queues into what is common", () =>
    none(betweenProviders(graph)))
  it("import in no circle, types included", () => none(cycles(graph, ["src/"])))
  it("import what exists", () => none(missing(graph)))
  it("keep Effect out of worker threads", () => none(effectInWorkers(graph)))
  it("are all reached from an entry of the package", () => {
    const targets = [...Object.values(manifest.exports), ...Object.values(manifest.bin)]
    const entries = targets.map((file) => file.replace("./dist", "src").replace(/js$/, "ts"))
    none(unreached(graph, entries))
  })
  it("are short", () => none(longFiles([...code, ...tools])))
  it("have short functions", () => none(longFunctions([...code, ...tools])))
  it("have narrow lines", () => none(wideLines([...code, ...tools, ...tests])))
  it("leave nothing for later", () => none(bannedWords([...code, ...tools, ...tests])))
  it("name no path of one machine", () =>
    none(machinePaths([...code, ...tools, ...tests, ...prose])))
})

/** Files from `path: text` pairs. */
const files = (texts: Record<string, string>): ReadonlyArray<Source> =>
  Object.entries(texts).map(([path, text]) => ({ path, text }))

const graph = (texts: Record<string, string>) => graphOf(files(texts))

describe("a planted offence is seen", () => {
  it("an import that points upward", () => {
    const offences = upward(
      graph({
        "src/schema/A.ts": 'import type { N } from "../native/N.ts"',
        "src/native/N.ts": 'import { A } from "../schema/A.ts"\nexport * from "../actors/bus/B.ts"',
        "src/actors/bus/B.ts": 'import { A } from "../../schema/A.ts"',
        "src/cli/main.ts": 'import { B } from "../actors/bus/B.ts"',
        "src/inspect/P.ts": 'import { t } from "../../test/t.ts"\nimport "../index.ts"',
        "src/index.ts": 'export * as B from "./actors/bus/B.ts"\nimport "./cli/main.ts"'
      })
    )
    assert.deepStrictEqual(offences, [
      "src/schema/A.ts must not import src/native/N.ts",
      "src/native/N.ts must not import src/actors/bus/B.ts",
      "src/inspect/P.ts must not import test/t.ts",
      "src/inspect/P.ts must not import src/index.ts",
      "src/index.ts must not import src/cli/main.ts"
    ])
  })

  it("a sibling under actors that is not stood on, and a private module of another", () => {
    const offences = betweenSiblings(
      graph({
        "src/actors/kernel/K.ts": 'const b = await import("../bus/B.ts")',
        "src/actors/bus/B.ts": 'import { K } from "../kernel/K.ts"\nimport "./internal/gossip.ts"',
        "src/actors/bus/internal/gossip.ts": 'import type { D } from "../../link/deadlines.ts"',
        "src/actors/rpc/R.ts": 'import { E } from "../endpoint/Endpoint.ts"',
        "src/actors/transfer/T.ts": 'import { m } from "../endpoint/mooncake/internal/codec.ts"',
        "src/testing/S.ts": 'import { k } from "../actors/kernel/internal/cell.ts"'
      })
    )
    assert.deepStrictEqual(offences, [
      "src/actors/kernel/K.ts must not import src/actors/bus/B.ts",
      "src/actors/bus/internal/gossip.ts must not import src/actors/link/deadlines.ts",
      "src/actors/rpc/R.ts must not import src/actors/endpoint/Endpoint.ts",
      "src/actors/transfer/T.ts must not import src/actors/endpoint/mooncake/internal/codec.ts"
    ])
  })

  it("a provider that the service or another one knows, and checks that know queues", () => {
    const offences = betweenProviders(
      graph({
        "src/native/verbs/Verbs.ts": 'import type { S } from "../sim/S.ts"',
        "src/native/verbs/provider/d.ts": 'import { q } from "../software/q.ts"',
        "src/native/verbs/software/q.ts": 'import { d } from "../provider/d.ts"',
        "src/native/sim/S.ts": 'import { q } from "../verbs/software/q.ts"\nimport "../iwarp/L.ts"',
        "src/native/ib/I.ts": 'import "../iwarp/I.ts"\nimport "../verbs/Verbs.ts"'
      })
    )
    assert.deepStrictEqual(offences, [
      "src/native/verbs/Verbs.ts must not import src/native/sim/S.ts",
      "src/native/verbs/provider/d.ts must not import src/native/verbs/software/q.ts",
      "src/native/sim/S.ts must not import src/native/iwarp/L.ts",
      "src/native/ib/I.ts must not import src/native/iwarp/I.ts"
    ])
  })

  it("a circle of imports, but not of types", () => {
    const offences = cycles(
      graph({
        "src/a.ts": 'import { b } from "./b.ts"',
        "src/b.ts": 'export { c } from "./c.ts"',
        "src/c.ts": 'import "./a.ts"\nimport { type D } from "./d.ts"',
        "src/d.ts": 'import type { c } from "./c.ts"\ntype A = import("./a.ts").A'
      })
    )
    assert.deepStrictEqual(offences, ["cycle: src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts"])
  })

  it("a circle of types where they count, and nowhere else", () => {
    const planted = graph({
      "src/native/a.ts": 'import type { b } from "./b.ts"',
      "src/native/b.ts": 'import type { a } from "./a.ts"',
      "src/actors/c.ts": 'import type { d } from "./d.ts"',
      "src/actors/d.ts": 'import type { c } from "./c.ts"'
    })
    assert.deepStrictEqual(cycles(planted, ["src/native/"]), [
      "cycle: src/native/a.ts -> src/native/b.ts -> src/native/a.ts"
    ])
  })

  it("Effect in a worker, also through another file and by the older way to name a worker", () => {
    const offences = effectInWorkers(
      graph({
        "src/native/Pool.ts": 'import "effect"\nnew Worker(workerModule(import.meta.url, "lane"))',
        "src/native/lane.ts": 'import { ring } from "./ring.ts"\nimport type * as E from "effect"',
        "src/native/ring.ts": 'import * as Hex from "effect/encoding/Hex"',
        "src/native/Disk.ts": 'new Worker(new URL("./disk.ts", import.meta.url))',
        "src/native/disk.ts": 'import { type A } from "@effect/platform-node"\nimport "effective"'
      })
    )
    assert.deepStrictEqual(offences, [
      "worker src/native/lane.ts -> src/native/ring.ts -> effect/encoding/Hex",
      "worker src/native/disk.ts -> @effect/platform-node"
    ])
  })

  it("a file that nothing reaches, and a worker that is not there", () => {
    const planted = graph({
      "src/index.ts": 'import type { A } from "./a.ts"',
      "src/a.ts": 'workerModule(import.meta.url, "w"); workerModule(import.meta.url, "gone")',
      "src/w.ts": "",
      "src/dead.ts": 'import "./deader.ts"',
      "src/deader.ts": ""
    })
    assert.deepStrictEqual(unreached(planted, ["src/index.ts"]), [
      "src/dead.ts is reached from no entry",
      "src/deader.ts is reached from no entry"
    ])
    assert.deepStrictEqual(missing(planted), ["src/a.ts names src/gone.ts, which does not exist"])
  })

  it("a long file, a long function and a wide line", () => {
    const lines = (count: number) => "x()\n".repeat(count)
    assert.deepStrictEqual(longFiles(files({ "a.ts": lines(350), "b.ts": lines(351) })), [
      "b.ts has 351 lines"
    ])
    const body = (count: number) => `\nconst f = () => {\n${lines(count - 2)}}\n`
    const long = files({
      "a.ts": body(70),
      "b.ts": body(71),
      "c.ts": `class C { m() {${lines(71)}} }`
    })
    assert.deepStrictEqual(longFunctions(long), ["b.ts:2 spans 71 lines", "c.ts:1 spans 72 lines"])
    const wide = files({ "a.ts": "é".repeat(100), "b.ts": "\n" + "x".repeat(101) })
    assert.deepStrictEqual(wideLines(wide), [`b.ts:2 ${"x".repeat(60)}`])
  })

  // A tilde keeps a word from being an offence of this file.
  const plain = (text: string) => text.replaceAll("~", "")

  it("words that leave something for later", () => {
    const words = ["TO~DO", "FIX~ME", "XX~X", "HA~CK", "x as an~y", "@ts-ig~nore"].map(plain)
    const tests = ["it.sk~ip(", "it.effect.on~ly(", "describe.to~do("].map(plain)
    const prose = ["for no~w", "place~holder", "not imple~mented"].map(plain)
    const bad = [...words, ...tests, ...prose]
    const good = ["mastodon", "as anyone", "Stream.take", "XXXL", "it.skipIf(x)", "before now"]
    const texts = files({ "bad.ts": bad.join("\n"), "good.ts": good.join("\n") })
    assert.deepStrictEqual(
      bannedWords(texts),
      bad.map((word, index) => `bad.ts:${index + 1} ${word}`)
    )
  })

  it("paths of one machine", () => {
    const bad = ['"/wo~rk/main"', " /fa~rm/x", "../sha~red/design.md"].map(plain)
    const good = ["framework/main", "./work/main", "https://example.org/work/main", "/work"]
    const texts = files({ "bad.md": bad.join("\n"), "good.md": good.join("\n") })
    assert.strictEqual(machinePaths(texts).length, bad.length)
  })
})
