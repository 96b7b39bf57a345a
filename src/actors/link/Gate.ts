/**
 * Gate of one epoch of a connection. *Connected* says that the local side is up; only evidence from
 * the peer shows that its side is, and only an open gate lets work through.
 *
 * Pure: a gate is a value in the state of its owner, so that it ends in the step in which its epoch
 * does. What counts as evidence is up to the dialect: an acknowledgement, a first reply, a first
 * frame. Everything that comes to a gate names an epoch, and is judged by `standing`: evidence
 * opens a gate that is closed, a deadline ends one that is closed, work passes one that is open,
 * and what names another epoch changes nothing.
 *
 * While a gate is closed, work waits in `WaitingWork` or as a pending reply of an actor, without a
 * timer, a fiber or a retry. A deadline runs for as long as the gate is closed: a signal in the
 * Scope of the epoch, or `Deadlines` where there are many.
 */

import type { Epoch } from "../../schema/Epoch.ts"

export type Gate<Evidence> =
  | { readonly _tag: "Closed"; readonly epoch: Epoch }
  | { readonly _tag: "Open"; readonly epoch: Epoch; readonly evidence: Evidence }

/** The gate of an epoch that begins. */
export const closed = (epoch: Epoch): Gate<never> => ({ _tag: "Closed", epoch })

/** How a gate stands for something that names an epoch. No gate: nothing is connected. */
export const standing = (
  gate: Gate<unknown> | undefined,
  epoch: Epoch | undefined
): "closed" | "open" | "other-epoch" | "no-gate" => {
  if (gate === undefined) return "no-gate"
  if (gate.epoch !== epoch) return "other-epoch"
  return gate._tag === "Open" ? "open" : "closed"
}

/** Opens a gate that is closed, by evidence for its epoch. Any other gate stays as it is. */
export const open = <Evidence>(
  gate: Gate<Evidence>,
  epoch: Epoch,
  evidence: Evidence
): Gate<Evidence> => (standing(gate, epoch) === "closed" ? { _tag: "Open", epoch, evidence } : gate)

/** True if work of that epoch may pass. */
export const isOpen = (gate: Gate<unknown> | undefined, epoch: Epoch): boolean =>
  standing(gate, epoch) === "open"
