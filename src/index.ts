/**
 * Peer links that never speak too soon.
 *
 * @since 0.1.0
 */
export * as Journal from "./actors/kernel/Journal.ts"
export * as JournalRecord from "./schema/JournalRecord.ts"
