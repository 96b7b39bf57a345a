/** Rules about who may import whom. Each takes imports and answers with offences, in words. */
import { type Graph, workersOf } from "./imports.ts"

const layers = ["schema", "native", "actors", "testing", "inspect", "cli"]

const layerOf = (path: string): number => layers.indexOf(/^src\/(\w+)\//.exec(path)?.[1] ?? "")

/** Layers import downward only. */
export const upward = (graph: Graph): ReadonlyArray<string> =>
  [...graph].flatMap(([path, imports]) =>
    imports
      .filter(({ target }) => {
        if (!path.startsWith("src/")) return false
        if (/^(test|bench|examples|scripts)\//.test(target)) return true
        const isFace = path === "src/index.ts"
        const from = isFace ? layers.indexOf("inspect") : layerOf(path)
        return target === "src/index.ts" || layerOf(target) > from
      })
      .map(({ target }) => `${path} must not import ${target}`)
  )

/** What a folder under `actors` may import of its siblings. */
const siblings: Record<string, ReadonlyArray<string>> = {
  kernel: [],
  link: ["kernel"],
  rdma: ["kernel", "link"],
  endpoint: ["kernel", "link", "rdma"],
  transfer: ["kernel", "link", "rdma", "endpoint"],
  rpc: ["kernel", "link", "rdma"],
  bus: ["kernel", "link"]
}

/** Folders under `actors` stand on one another in one order, and on exported modules alone. */
export const betweenSiblings = (graph: Graph): ReadonlyArray<string> => {
  const siblingOf = (path: string) => /^src\/actors\/(\w+)\//.exec(path)?.[1]
  const isPrivate = (path: string) => /\/internal\/|\/[a-z][^/]*$/.test(path)
  return [...graph].flatMap(([path, imports]) =>
    imports
      .filter(({ target }) => {
        const [from, to] = [siblingOf(path), siblingOf(target)]
        if (from === undefined || to === undefined || from === to) return false
        return isPrivate(target) || !siblings[from]?.includes(to)
      })
      .map(({ target }) => `${path} must not import ${target}`)
  )
}

/** What a folder under `native` may import of the others. */
const providers: Record<string, ReadonlyArray<string>> = {
  io: [],
  sqlite: ["io"],
  verbs: [],
  "verbs/provider": ["verbs"],
  "verbs/software": ["verbs", "verbs/provider"],
  sim: ["io", "verbs", "verbs/provider", "verbs/software"],
  iwarp: ["io", "verbs", "verbs/provider", "verbs/software"],
  ib: ["verbs", "verbs/provider", "verbs/software"]
}

/**
 * The verbs service knows no provider, no provider another one, and what checks for all providers
 * knows nothing of the memory and the queues behind the checks.
 */
export const betweenProviders = (graph: Graph): ReadonlyArray<string> => {
  const folderOf = (path: string) =>
    /^src\/native\/(verbs\/(?:provider|software)|\w+)\//.exec(path)?.[1]
  return [...graph].flatMap(([path, imports]) =>
    imports
      .filter(({ target }) => {
        const [from, to] = [folderOf(path), folderOf(target)]
        return (
          from !== undefined && to !== undefined && from !== to && !providers[from]?.includes(to)
        )
      })
      .map(({ target }) => `${path} must not import ${target}`)
  )
}

/**
 * No file imports itself through others. Imports of types count in the folders `withTypes`: at run
 * time they are gone, but files in such a circle cannot be understood one by one.
 */
export const cycles = (
  graph: Graph,
  withTypes: ReadonlyArray<string> = []
): ReadonlyArray<string> => {
  const done = new Set<string>()
  const offences: Array<string> = []
  const walk = (path: string, trail: ReadonlyArray<string>): void => {
    if (trail.includes(path)) {
      offences.push(`cycle: ${[...trail.slice(trail.indexOf(path)), path].join(" -> ")}`)
      return
    }
    if (done.has(path)) return
    const countsTypes = withTypes.some((folder) => path.startsWith(folder))
    for (const { kind, target } of graph.get(path) ?? []) {
      if (kind === "value" || (kind === "type" && countsTypes)) walk(target, [...trail, path])
    }
    done.add(path)
  }
  for (const path of graph.keys()) walk(path, [])
  return offences
}

/** Threads start quickly and stay small: what runs in one must not load Effect. */
export const effectInWorkers = (graph: Graph): ReadonlyArray<string> =>
  workersOf(graph).flatMap((worker) => {
    const seen = new Set<string>()
    const offences: Array<string> = []
    const walk = (path: string, trail: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      for (const { kind, target } of graph.get(path) ?? []) {
        if (kind !== "value") continue
        if (/^(effect|@effect\/[\w-]+)(\/|$)/.test(target)) offences.push(`${trail} -> ${target}`)
        walk(target, `${trail} -> ${target}`)
      }
    }
    walk(worker, `worker ${worker}`)
    return offences
  })

/** Every file is reached from an entry, by import or as a thread. */
export const unreached = (graph: Graph, entries: ReadonlyArray<string>): ReadonlyArray<string> => {
  const seen = new Set<string>()
  const walk = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { target } of graph.get(path) ?? []) walk(target)
  }
  for (const entry of entries) walk(entry)
  return [...graph.keys()]
    .filter((path) => path.startsWith("src/") && !seen.has(path))
    .map((path) => `${path} is reached from no entry`)
}

/** What an import names exists. A worker's URL is checked by nobody else. */
export const missing = (graph: Graph): ReadonlyArray<string> =>
  [...graph].flatMap(([path, imports]) =>
    imports
      .filter(({ target }) => /^src\/.*\.ts$/.test(target) && !graph.has(target))
      .map(({ target }) => `${path} names ${target}, which does not exist`)
  )
