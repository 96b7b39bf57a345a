/**
 * Ends a process that runs a share of seeds once the process that has asked for it is gone, however
 * that ended: then the pipe to standard input is closed. Loaded into it before vitest; the workers
 * of a vitest end with it.
 */
process.stdin.on("close", () => process.exit(1)).resume()
