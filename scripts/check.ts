/**
 * Runs every `check:*` script of package.json at the same time, and prints only what is wrong.
 *
 * `npm run check`; one of them alone: `npm run check:lint`.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"

const root = new URL("../", import.meta.url)
const { scripts }: { scripts: Record<string, string> } = JSON.parse(
  readFileSync(new URL("package.json", root), "utf8")
)
const names = Object.keys(scripts).filter((name) => name.startsWith("check:"))

/** The output of a failed script; nothing for one that is content. */
const failure = (name: string) =>
  new Promise<string | undefined>((resolve) =>
    execFile(process.execPath, ["--run", name], { cwd: root }, (error, stdout, stderr) =>
      resolve(error === null ? undefined : `--- ${name}\n${stdout}${stderr}`)
    )
  )

const start = performance.now()
const failures = (await Promise.all(names.map(failure))).filter((text) => text !== undefined)
for (const text of failures) console.error(text)
const seconds = ((performance.now() - start) / 1000).toFixed(1)
console.log(`${names.length} checks, ${failures.length} failed, ${seconds} s`)
process.exitCode = failures.length === 0 ? 0 : 1
