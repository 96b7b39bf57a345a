#!/usr/bin/env node
/**
 * The command line. It checks the version of Node before it loads anything else: an older Node
 * fails at the first import of a module that it does not have, and its trace names no version.
 */
import { neededNode } from "./version.ts"

const numbersOf = (version: string) => version.split(".").map(Number)

const isOlder = (version: string, needed: string): boolean => {
  const [major = 0, minor = 0] = numbersOf(version)
  const [neededMajor = 0, neededMinor = 0] = numbersOf(needed)
  return major < neededMajor || (major === neededMajor && minor < neededMinor)
}

if (isOlder(process.versions.node, neededNode)) {
  process.stderr.write(`Node ${neededNode} or newer is needed, this is ${process.versions.node}.\n`)
  process.exitCode = 1
} else await import("./commands.ts")
