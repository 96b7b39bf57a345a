/**
 * Path MTUs. No Effect here: worker threads load it.
 *
 * @since 0.1.0
 */

/**
 * The sizes that the packets on a path may have, in octets.
 *
 * @category models
 * @since 0.1.0
 */
export const mtus = [256, 512, 1024, 2048, 4096] as const

/** @since 0.1.0 */
export type Mtu = (typeof mtus)[number]
