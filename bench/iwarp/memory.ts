/**
 * Bytes of memory that contestants write from and read into, the same for all of them: larger than
 * a cache of the second level. In its own module, so that a peer over `node:net` loads no more.
 */
export const memoryBytes = 1 << 22
