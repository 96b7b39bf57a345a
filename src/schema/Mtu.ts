/** Path MTUs. No Effect here: worker threads load it. */

/** The packet sizes of paths, in bytes. */
export const mtus = [256, 512, 1024, 2048, 4096] as const

export type Mtu = (typeof mtus)[number]
