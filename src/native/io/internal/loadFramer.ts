/**
 * Loads a protocol's framer by its URL, once per thread.
 */
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import type { Framer } from "../Framer.ts"

const loaded = new Map<string, Promise<Framer>>()

const check = (url: string, module: { readonly default?: Framer }): Framer => {
  const framer = module.default
  const { maxFrameBytes, open } = framer ?? {}
  if (framer === undefined || typeof open !== "function" || !((maxFrameBytes ?? 0) > 0)) {
    throw new TypeError(`${url} has no framer as its default export`)
  }
  return framer
}

/** The framer that the module exports as its default. */
export const loadFramer = (url: string): Promise<Framer> => {
  const known = loaded.get(url)
  if (known !== undefined) return known
  const loading = import(url).then((module) => check(url, module))
  loaded.set(url, loading)
  loading.catch(() => loaded.delete(url))
  return loading
}

const require = createRequire(import.meta.url)

/** The same without a promise, which a simulation would have to wait for. */
export const loadFramerNow = (url: string): Framer => check(url, require(fileURLToPath(url)))
