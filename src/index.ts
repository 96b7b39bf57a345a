/**
 * Peer links that never speak too soon.
 *
 * @since 0.1.0
 */
export * as Actor from "./actors/kernel/Actor.ts"
export * as ActorError from "./actors/kernel/ActorError.ts"
export * as ActorRpc from "./actors/kernel/ActorRpc.ts"
export * as Behavior from "./actors/kernel/Behavior.ts"
export * as Decision from "./actors/kernel/Decision.ts"
export * as Epochs from "./actors/kernel/Epochs.ts"
export * as Journal from "./actors/kernel/Journal.ts"
export * as JournalRecord from "./schema/JournalRecord.ts"
export * as Limits from "./actors/kernel/Limits.ts"
export * as Metrics from "./actors/kernel/Metrics.ts"
export * as Supervisor from "./actors/kernel/Supervisor.ts"
export { Epoch } from "./schema/Epoch.ts"
