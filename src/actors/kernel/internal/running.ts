/**
 * The actors that run in this process, by their journal and address.
 *
 * A journal is identified by its `Store` value, and a process by its source of epochs, so two
 * simulated processes do not see each other's actors. What this cannot see, such as two wrappers
 * of one store or another process, the journal fences.
 */
import * as Context from "effect/Context"
import type { EpochSource } from "../../../schema/Epoch.ts"
import { Epochs } from "../Epochs.ts"
import type { Store } from "../Journal.ts"
import type { Cell } from "./cell.ts"

/** Cells by the name of their behavior and their id. */
type Actors = Map<string, Map<string, Cell>>

const processes = new WeakMap<EpochSource, WeakMap<Store, Actors>>()

const actorsOf = (context: Context.Context<never>, journal: Store): Actors => {
  const source = Context.get(context, Epochs)
  let journals = processes.get(source)
  if (journals === undefined) processes.set(source, (journals = new WeakMap()))
  let actors = journals.get(journal)
  if (actors === undefined) journals.set(journal, (actors = new Map()))
  return actors
}

/** Takes the address of a cell, unless another one has it: then returns that one. */
export const takeAddress = (cell: Cell): Cell | undefined => {
  if (cell.journal === undefined) return undefined
  const actors = actorsOf(cell.context, cell.journal)
  const { name } = cell.definition
  let ids = actors.get(name)
  if (ids === undefined) actors.set(name, (ids = new Map()))
  const holder = ids.get(cell.id)
  if (holder !== undefined) return holder
  ids.set(cell.id, cell)
  return undefined
}

/** Frees the address of a cell that has ended, if it had it. */
export const freeAddress = (cell: Cell): void => {
  if (cell.journal === undefined) return
  const ids = actorsOf(cell.context, cell.journal).get(cell.definition.name)
  if (ids?.get(cell.id) === cell) ids.delete(cell.id)
}
