/** The journal of one of the two processes. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../../actors/kernel/Journal.ts"

/** A journal from which nothing is deleted: the audit is to see all that was accepted. */
export const layerKeeping = (file: string) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (store) => ({ ...store, prune: () => Effect.void }))
  ).pipe(Layer.provide(Journal.layerSqlite({ file })))
