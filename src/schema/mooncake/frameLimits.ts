/** Limits of Mooncake's frames. */

/** The default limit of the length, in bytes, itself included, in Mooncake and here. */
export const defaultLimit = 1_048_576

/** The largest limit that Mooncake can be configured with, in bytes. */
export const largestLimit = 134_217_728
