/** What each source file imports, read with TypeScript's own parser. */
import { posix } from "node:path"
import ts from "typescript-6"

/** A file as the rules see it. */
export interface Source {
  /** From the root of the project, with forward slashes. */
  readonly path: string
  readonly text: string
}

export interface Import {
  /** A path from the root if the specifier is relative, otherwise the specifier itself. */
  readonly target: string
  /** How it is used: at run time, by the type checker alone, or as a module of another thread. */
  readonly kind: "value" | "type" | "worker"
}

export const parse = ({ path, text }: Source): ts.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)

const isText = (node: ts.Node | undefined): node is ts.StringLiteralLike =>
  node !== undefined && ts.isStringLiteralLike(node)

/** What `new URL("./x.ts", import.meta.url)` or `workerModule(import.meta.url, "x")` names. */
const workerOf = (node: ts.Node): string | undefined => {
  if (ts.isNewExpression(node) && node.expression.getText() === "URL") {
    const [file, base] = node.arguments ?? []
    const isModule =
      base?.getText() === "import.meta.url" && isText(file) && file.text.endsWith(".ts")
    return isModule ? file.text : undefined
  }
  if (ts.isCallExpression(node) && node.expression.getText() === "workerModule") {
    const name = node.arguments[1]
    return isText(name) ? `./${name.text}.ts` : undefined
  }
  return undefined
}

const importOf = (node: ts.Node): { specifier: string; kind: Import["kind"] } | undefined => {
  if (ts.isImportDeclaration(node) && isText(node.moduleSpecifier)) {
    const isType = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
    return { specifier: node.moduleSpecifier.text, kind: isType ? "type" : "value" }
  }
  if (ts.isExportDeclaration(node) && isText(node.moduleSpecifier)) {
    return { specifier: node.moduleSpecifier.text, kind: node.isTypeOnly ? "type" : "value" }
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    const { literal } = node.argument
    return isText(literal) ? { specifier: literal.text, kind: "type" } : undefined
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [specifier] = node.arguments
    return isText(specifier) ? { specifier: specifier.text, kind: "value" } : undefined
  }
  const worker = workerOf(node)
  return worker === undefined ? undefined : { specifier: worker, kind: "worker" }
}

/** All imports of a file, in order. */
const importsOf = (source: Source): ReadonlyArray<Import> => {
  const found: Array<Import> = []
  const visit = (node: ts.Node): void => {
    const hit = importOf(node)
    if (hit !== undefined) {
      const { kind, specifier } = hit
      const target = specifier.startsWith(".")
        ? posix.join(posix.dirname(source.path), specifier)
        : specifier
      found.push({ target, kind })
    }
    ts.forEachChild(node, visit)
  }
  visit(parse(source))
  return found
}

/** Imports by file. */
export type Graph = ReadonlyMap<string, ReadonlyArray<Import>>

export const graphOf = (sources: ReadonlyArray<Source>): Graph =>
  new Map(sources.map((source) => [source.path, importsOf(source)]))

/** The files that are started as a thread of their own. */
export const workersOf = (graph: Graph): ReadonlyArray<string> =>
  [...graph.values()]
    .flat()
    .filter(({ kind }) => kind === "worker")
    .map(({ target }) => target)
