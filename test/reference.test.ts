/**
 * Goal: the pages of limits and metrics say what the sources say, no setting is without a default,
 * and the glossary points to files that are there. Method: the pages are generated again and
 * compared; planted settings are read; the paths of the glossary are looked up.
 */
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { allLimits, allMetrics, limitsOf, limitsPage, metricsPage } from "../scripts/reference.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

const page = (name: string): string => readFileSync(`${root}docs/${name}.md`, "utf8")

describe("the generated pages", () => {
  it("list all limits: `npm run reference` writes them", () =>
    assert.strictEqual(page("LIMITS"), limitsPage(allLimits())))

  it("list all metrics: `npm run reference` writes them", async () =>
    assert.strictEqual(page("METRICS"), metricsPage(await allMetrics())))

  it("name a default of each setting that a program may leave out", () => {
    const without = allLimits().flatMap(({ file, limits }) =>
      limits.filter((limit) => limit.default === undefined).map(({ name }) => `${file} ${name}`)
    )
    assert.deepStrictEqual(without, [])
  })

  it("describe each metric once", async () => {
    const metrics = await allMetrics()
    assert.deepStrictEqual(
      metrics.filter(({ description }) => description === ""),
      []
    )
    assert.strictEqual(new Set(metrics.map(({ id }) => id)).size, metrics.length)
  })
})

describe("the glossary", () => {
  const rows = [...page("GLOSSARY").matchAll(/^\| (?!term|-)(.+?) +\| .+ \|(?: +`(.+)`)? +\|$/gm)]

  it("names for each term where it is at home", () => {
    assert.isAbove(rows.length, 40)
    const missing = rows.filter(([, , path]) => path !== undefined && !existsSync(root + path))
    assert.deepStrictEqual(
      missing.map(([, term, path]) => `${term}: ${path}`),
      []
    )
  })

  it("explains each term once", () => {
    const terms = rows.flatMap(([, term]) => term!.split(", "))
    assert.deepStrictEqual(
      terms.filter((term, index) => terms.indexOf(term) !== index),
      []
    )
  })
})

describe("a limit is read from JSDoc", () => {
  const read = (members: string) =>
    limitsOf("src/a/A.ts", `export interface Settings {\n${members}\n}`).flatMap(
      ({ limits }) => limits
    )

  it("with its default and the reason", () => {
    const [limit] = read(
      "/** Bytes of a frame. Default 1 MiB: as\n * peers send. */ bytes?: number"
    )
    assert.deepStrictEqual(limit, {
      name: "bytes",
      isOptional: true,
      bounds: "Bytes of a frame.",
      default: "1 MiB: as peers send."
    })
  })

  it("and is missed if it has no default beside one that has", () => {
    const limits = read("/** A. Default 1. */ a?: number\n/** B. */ b?: number")
    assert.deepStrictEqual(
      limits.map((limit) => limit.default),
      ["1.", undefined]
    )
  })

  it("but not if it is no number, or is always given", () =>
    assert.deepStrictEqual(read("/** Default no. */ a?: boolean\nb: number"), []))
})
