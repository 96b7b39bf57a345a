/** The journal of one of the two processes. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../../actors/kernel/Journal.ts"

/** A journal from which nothing is deleted, because the audit reads all accepted transfers. */
export const layerKeeping = (file: string) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (store) => ({ ...store, prune: () => Effect.void }))
  ).pipe(Layer.provide(Journal.layerSqlite({ file })))
