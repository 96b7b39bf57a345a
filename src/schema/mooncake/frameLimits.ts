/** The lengths of frames that Mooncake takes. */

/** The largest length by default, in bytes, itself included: what Mooncake takes by default. */
export const defaultLimit = 1_048_576

/** The largest limit that Mooncake can be set to, in bytes. */
export const largestLimit = 134_217_728
