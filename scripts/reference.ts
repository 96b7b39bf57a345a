/**
 * Writes `docs/LIMITS.md` and `docs/METRICS.md` from the sources: `npm run reference`.
 *
 * A limit is a numeric member of an interface named `Settings`, `Options` or `Limits` whose JSDoc
 * says what it bounds, in which unit, and after `Default` its default with the reason.
 * A metric is exported by a module named `*Metrics.ts`, and describes itself.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, relative } from "node:path"
import { fileURLToPath } from "node:url"
import * as Metric from "effect/Metric"
import ts from "typescript-6"
import { entryOf } from "./exports.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

/** A setting as its JSDoc describes it. */
export interface Limit {
  readonly name: string
  /** True if a program may leave it out. */
  readonly isOptional: boolean
  /** The thing that is bounded, and the unit. */
  readonly bounds: string
  /** The default and its reason, or undefined if the JSDoc names none. */
  readonly default: string | undefined
}

/** The settings of one interface. */
export interface Group {
  readonly file: string
  readonly interface: string
  readonly limits: ReadonlyArray<Limit>
}

const commentOf = (node: ts.Node): string =>
  ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "")
    .join(" ")
    .replaceAll(/\s+/g, " ")
    .trim()

const isNumeric = (type: ts.TypeNode | undefined): boolean => {
  if (type === undefined) return false
  if (ts.isUnionTypeNode(type)) return type.types.some((one) => isNumeric(one))
  return type.kind === ts.SyntaxKind.NumberKeyword || type.getText() === "Duration.Input"
}

const limitOf = (member: ts.PropertySignature): Limit => {
  const comment = commentOf(member)
  const at = comment.search(/\bDefault\b/)
  return {
    name: member.name.getText(),
    isOptional: member.questionToken !== undefined,
    bounds: at < 0 ? comment : comment.slice(0, at).trim(),
    default: at < 0 ? undefined : comment.slice(at).replace(/^Default:? /, "")
  }
}

/** The limits that a source file declares. */
export const limitsOf = (file: string, text: string): ReadonlyArray<Group> => {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  return source.statements.filter(ts.isInterfaceDeclaration).flatMap((declaration) => {
    const name = declaration.name.text
    if (!/(Settings|Options|Limits)$/.test(name)) return []
    const limits = declaration.members
      .filter(ts.isPropertySignature)
      .filter((member) => isNumeric(member.type))
      .map(limitOf)
      .filter((limit) => limit.isOptional || limit.default !== undefined)
    const isUsers = limits.some((limit) => limit.default !== undefined)
    return isUsers ? [{ file, interface: name, limits }] : []
  })
}

const sources = globSync("src/**/*.ts", { cwd: root }).toSorted()

/** All limits of the library. Those of the command line and of tests are no limits of a service. */
export const allLimits = (): ReadonlyArray<Group> =>
  sources
    .filter((file) => !/^src\/(cli|testing)\//.test(file))
    .flatMap((file) => limitsOf(file, readFileSync(root + file, "utf8")))

/** The public module that exports a private one's settings. */
const exporterOf = (file: string): string | undefined => {
  const isExporter = (source: string): boolean => {
    const specifier = `./${relative(dirname(source), file)}`
    const text = readFileSync(root + source, "utf8")
    return new RegExp(`^export [^;]*?from "${specifier}"`, "m").test(text)
  }
  const exporter = sources.find((source) => entryOf(source) !== undefined && isExporter(source))
  return exporter === undefined ? undefined : entryOf(exporter)
}

const cell = (text: string): string => text.replaceAll("|", "\\|")

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n")

const generated = "<!-- Written by `npm run reference`: change the JSDoc in the sources. -->"

/** The text of `docs/LIMITS.md`. */
export const limitsPage = (groups: ReadonlyArray<Group>): string => {
  const sections = groups.map(({ file, interface: name, limits }) => {
    const entry = entryOf(file) ?? exporterOf(file)
    const title = entry?.replace(".", "handfast") ?? file
    const rows = limits.map((limit) => [`\`${limit.name}\``, limit.bounds, limit.default ?? ""])
    return `## ${title}: ${name}\n\n${table(["setting", "bounds", "default"], rows)}\n`
  })
  const intro = "Each limit is a setting, listed with the module that exports it."
  return `# Limits\n\n${generated}\n\n${intro}\n\n${sections.join("\n")}`
}

interface Row {
  readonly id: string
  readonly type: string
  readonly description: string
}

/** All metrics, by name. */
export const allMetrics = async (): Promise<ReadonlyArray<Row>> => {
  const modules = await Promise.all(
    sources.filter((file) => file.endsWith("Metrics.ts")).map((file) => import(root + file))
  )
  return modules
    .flatMap((module) => Object.values(module))
    .filter(Metric.isMetric)
    .map(({ description = "", id, type }) => ({ id, type: type.toLowerCase(), description }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** The text of `docs/METRICS.md`. */
export const metricsPage = (metrics: ReadonlyArray<Row>): string => {
  const rows = metrics.map(({ description, id, type }) => [`\`${id}\``, type, description])
  return `# Metrics\n\n${generated}\n\n${table(["metric", "type", "counts"], rows)}\n`
}

if (import.meta.main) {
  writeFileSync(`${root}docs/LIMITS.md`, limitsPage(allLimits()))
  writeFileSync(`${root}docs/METRICS.md`, metricsPage(await allMetrics()))
}
