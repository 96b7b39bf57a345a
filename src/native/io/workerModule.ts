/**
 * Finds a worker's module beside the one that starts it: the sources run as they are (`.ts`), the
 * published package runs compiled (`.js`), and a compiler rewrites no URL.
 */
export const workerModule = (parent: string, name: string): URL =>
  new URL(`./${name}${parent.endsWith(".ts") ? ".ts" : ".js"}`, parent)
