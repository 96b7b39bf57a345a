/**
 * The actors that run in this process, by their journal and address.
 *
 * A journal is identified by its `Store` value, and a process by its source of epochs, so two
 * simulated processes do not see each other's actors. The journal fences what this cannot see, such
 * as two wrappers of one store or another process.
 */
import * as Context from "effect/Context"
import type { EpochSource } from "../../../schema/Epoch.ts"
import { Epochs } from "../Epochs.ts"
import type { Store } from "./store.ts"
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

/**
 * The cell that has an address. Names and ids may hold slashes, so different pairs of them may make
 * one address.
 */
const holderOf = (actors: Actors, address: string): Cell | undefined => {
  for (const [name, ids] of actors) {
    if (!address.startsWith(`${name}/`)) continue
    const holder = ids.get(address.slice(name.length + 1))
    if (holder !== undefined) return holder
  }
  return undefined
}

/** Takes the address of a cell, unless another one has it: then returns that one. */
export const takeAddress = (cell: Cell): Cell | undefined => {
  if (cell.journal === undefined) return undefined
  const actors = actorsOf(cell.context, cell.journal)
  const holder = holderOf(actors, cell.address)
  if (holder !== undefined) return holder
  const { name } = cell.definition
  let ids = actors.get(name)
  if (ids === undefined) actors.set(name, (ids = new Map()))
  ids.set(cell.id, cell)
  return undefined
}

/** Frees the address of a cell that has ended, if it had it. */
export const freeAddress = (cell: Cell): void => {
  if (cell.journal === undefined) return
  const ids = actorsOf(cell.context, cell.journal).get(cell.definition.name)
  if (ids?.get(cell.id) === cell) ids.delete(cell.id)
}
