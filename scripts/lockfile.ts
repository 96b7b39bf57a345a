/**
 * Completes `package-lock.json` with the platform packages that the registry in use did not
 * offer when `npm install` ran.
 *
 * Tools such as oxlint and typescript ship one binary package per platform as optional
 * dependencies. A partial mirror holds only those of its own platform; npm then leaves the
 * others out of the lock file, and `npm ci` refuses it. Each missing package is entered by
 * name, version and platform, so that npm skips it where the platform differs and asks its own
 * registry where it matches. Run it after every `npm install` that changed a dependency:
 * `npm run lockfile`.
 */
import { readFileSync, writeFileSync } from "node:fs"

interface LockedPackage {
  version?: string
  optional?: boolean
  dev?: boolean
  os?: Array<string>
  cpu?: Array<string>
  libc?: Array<string>
  optionalDependencies?: Record<string, string>
}

const file = new URL("../package-lock.json", import.meta.url)
const lock: { packages: Record<string, LockedPackage> } = JSON.parse(readFileSync(file, "utf8"))

const systems = ["darwin", "win32", "linux", "android", "freebsd", "openbsd", "netbsd", "sunos"]
const processors = ["arm64", "x64", "ia32", "arm", "ppc64", "riscv64", "s390x", "loong64"]

const platformOf = (name: string): Pick<LockedPackage, "os" | "cpu" | "libc"> => {
  const parts = name.split(/[-/]/)
  const os = [...systems, "openharmony", "aix"].find((system) => parts.includes(system))
  const cpu = processors.find((processor) => parts.includes(processor))
  const libc = parts.includes("musl") ? "musl" : parts.includes("gnu") ? "glibc" : undefined
  return {
    // A package without a system in its name (WebAssembly fallbacks) is never installed here.
    os: [os ?? "unknown"],
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(libc === undefined ? {} : { libc: [libc] })
  }
}

let added = 0
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (key in lock.packages || !/^\d/.test(version)) continue
    lock.packages[key] = { version, optional: true, dev: true, ...platformOf(name) }
    added++
  }
}
const sorted = Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : 1))
lock.packages = Object.fromEntries(sorted)
writeFileSync(file, JSON.stringify(lock, null, 2) + "\n")
console.log(`${added} platform packages added`)
