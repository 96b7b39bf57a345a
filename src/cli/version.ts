/** The version of this package and of the Node it needs, from the one place that states them. */
import { readFileSync } from "node:fs"

const { engines, version } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8")
) as { readonly engines: { readonly node: string }; readonly version: string }

/** The oldest Node that is supported: `24.16`. */
const neededNode = /\d+\.\d+/.exec(engines.node)![0]

export { neededNode, version }
