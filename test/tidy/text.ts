/** Rules about size and wording. Each takes files and answers with offences, in words. */
import ts from "typescript-6"
import { parse, type Source } from "./imports.ts"

const limits = { file: 350, function: 70, line: 100 }

const linesOf = (text: string) => text.replace(/\n$/, "").split("\n")

/** A file holds one concept. */
export const longFiles = (sources: ReadonlyArray<Source>): ReadonlyArray<string> =>
  sources.flatMap(({ path, text }) => {
    const lines = linesOf(text).length
    return lines > limits.file ? [`${path} has ${lines} lines`] : []
  })

/** A function fits on a screen, with all that it contains. */
export const longFunctions = (sources: ReadonlyArray<Source>): ReadonlyArray<string> =>
  sources.flatMap((source) => {
    const file = parse(source)
    const lineAt = (position: number) => file.getLineAndCharacterOfPosition(position).line + 1
    const offences: Array<string> = []
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
        const start = lineAt(node.getStart(file))
        const lines = lineAt(node.getEnd()) - start + 1
        if (lines > limits.function) offences.push(`${source.path}:${start} spans ${lines} lines`)
      }
      ts.forEachChild(node, visit)
    }
    visit(file)
    return offences
  })

const grep = (sources: ReadonlyArray<Source>, isBad: (line: string) => boolean) =>
  sources.flatMap(({ path, text }) =>
    linesOf(text).flatMap((line, index) =>
      isBad(line) ? [`${path}:${index + 1} ${line.trim().slice(0, 60)}`] : []
    )
  )

/** Two files fit side by side. */
export const wideLines = (sources: ReadonlyArray<Source>): ReadonlyArray<string> =>
  grep(sources, (line) => [...line].length > limits.line)

// One letter of each word is in brackets, so that this file does not contain the word.
const banned = new RegExp(
  [
    String.raw`\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b`,
    String.raw`\bas an[y]\b|@ts-igno[r]e`,
    String.raw`\b(it|test|describe)(\.\w+)*\.(ski[p]|onl[y]|tod[o])\b`,
    String.raw`\b(for no[w]|placeholde[r]|not implemente[d])\b`
  ].join("|")
)

/** Nothing is left for later, and no test is left out. */
export const bannedWords = (sources: ReadonlyArray<Source>): ReadonlyArray<string> =>
  grep(sources, (line) => banned.test(line))

const machinePath = /(^|[^\w.])\/(wor[k]|far[m])\/[a-z.]|\.\.\/share[d]\//

/** No path that exists on one machine alone. */
export const machinePaths = (sources: ReadonlyArray<Source>): ReadonlyArray<string> =>
  grep(sources, (line) => machinePath.test(line))
