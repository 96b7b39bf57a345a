/**
 * Goal: what the documents show is what runs.
 * Method: every example runs as a process of its own, prints what its comments promise, and the
 * code that the README quotes is the example's text.
 */
import { execFile } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import ts from "typescript-6"
import { entryOf } from "../scripts/exports.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const read = (file: string) => readFileSync(root + file, "utf8")
const examples = globSync("examples/*.ts", { cwd: root }).toSorted()

/** What `// ...` after a log promises, and `// prints: ...; ...` after any line, in order. */
const promises = (text: string) =>
  [...text.matchAll(/(?:Console\.log\(.*\) \/\/ |\/\/ prints: )(.*)$/gm)].flatMap(([, output]) =>
    output!.split("; ")
  )

/** An example as a user of the package writes it: by entries instead of paths. */
const asUser = (text: string) =>
  text.replaceAll(/"\.\.\/(src\/[^"]+)"/g, (_, file: string) => {
    const entry = entryOf(file)
    assert.isDefined(entry, `${file} is no entry of the package`)
    return `"${entry.replace(/^\./, "handfast")}"`
  })

/** Ends an example that hangs. The longest takes eight seconds of processor time. */
const hangMs = 120_000

describe("examples", () => {
  for (const file of examples) {
    it(`${file} runs and prints what it says`, { timeout: hangMs }, async () => {
      const run = promisify(execFile)(process.execPath, [file], { cwd: root, timeout: hangMs })
      const { stderr, stdout } = await run
      assert.strictEqual(stderr, "")
      const promised = promises(read(file))
      if (promised.length > 0) assert.deepStrictEqual(stdout.trimEnd().split("\n"), promised)
    })
  }

  it("are quoted by the README word for word, as a user would import them", () => {
    const quotes = [...read("README.md").matchAll(/<!-- (examples\/\S+) -->\n+```ts\n(.*?)```/gs)]
    assert.isAbove(quotes.length, 0)
    for (const [, file, code] of quotes) assert.strictEqual(code, asUser(read(file!)))
  })
})

/** What a snippet of the README leaves to its reader: imports, and names that it calls. */
const busPreamble = `
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { BusNode, type Missed, type Received, type SlotOwner } from "./src/actors/bus/BusNode.ts"
declare const follow: (slots: ReadonlyArray<SlotOwner>) => Effect.Effect<void>
declare const handle: (
  price: Received<{ readonly symbol: string; readonly cents: number }> | Missed
) => Effect.Effect<void>
`

/** What the compiler says about a module in the folder of this project. */
const diagnosticsOf = (text: string): ReadonlyArray<string> => {
  const file = `${root}snippet.ts`
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path))
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root)
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, version, ...rest) =>
    path === file ? ts.createSourceFile(path, text, version) : getSourceFile(path, version, ...rest)
  const program = ts.createProgram([file], { ...options, noUnusedLocals: false }, host)
  const source = program.getSourceFile(file)
  return [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source)
  ].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))
}

describe("the README's snippet of the cluster bus", { timeout: hangMs }, () => {
  const snippet = [...read("README.md").matchAll(/```ts\n(.*?)```/gs)]
    .map(([, code]) => code!)
    .find((code) => code.includes("yield* BusNode"))

  it("compiles", () => assert.deepStrictEqual(diagnosticsOf(busPreamble + snippet!), []))

  it("would not if a name or a type were wrong", () => {
    const broken = snippet!.replace("bus.publish(", "bus.send(").replace("1999", '"1999"')
    assert.isAbove(diagnosticsOf(busPreamble + broken).length, 0)
  })
})
