/**
 * Known ways to get a member of the bus wrong: a simulation that does not find them proves nothing
 * when it is green.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { Node } from "../../../actors/bus/internal/node.ts"
import type { Parts } from "../../../actors/bus/internal/parts.ts"
import type { PeerLink } from "../../../actors/bus/internal/member.ts"
import type { IoPool } from "../../../native/io/IoPool.ts"
import { FrameView } from "../../../schema/bus/FrameView.ts"
import { Type } from "../../../schema/bus/Layout.ts"

type Outside = ConstructorParameters<typeof Node>[2]

/** Takes the sender of any full frame for a member, dialled, admitted or neither. */
class Ungated extends Node {
  override take(link: PeerLink, frame: FrameView, isAnswered: boolean): void {
    const isOpening = !link.isProven && link.end === undefined && !frame.isLight
    if (isOpening && frame.sender !== this.table.self.id) this.#open(link, frame)
    super.take(link, frame, isAnswered)
  }

  #open(link: PeerLink, { busPort, sender }: FrameView): void {
    const { ip } = link.remote
    const member = this.table.members.get(sender) ?? this.table.add(sender, { ip, busPort })
    const { purpose } = link
    if (purpose._tag !== "Known" || purpose.id === sender) return
    link.peer = member
    link.provenAt = this.table.outside.now()
  }
}

/** Takes in every stranger that asks. */
class AdmittingAnyone extends Node {
  constructor(...[self, settings, outside, board]: ConstructorParameters<typeof Node>) {
    const open: Outside = { ...outside, admit: () => true }
    super(self, settings, open, board)
  }
}

/** Holds its own sleep against its peers. */
class FooledBySleep extends Node {
  constructor(...args: ConstructorParameters<typeof Node>) {
    super(...args)
    const { awakeSince } = this.table
    Object.defineProperty(this.table, "awakeSince", { get: () => awakeSince, set: () => {} })
  }
}

/** Goes on to read a link that a newer one of the same peer has replaced. */
class ReadingOlderLinks extends Node {
  constructor(...args: ConstructorParameters<typeof Node>) {
    super(...args)
    const { table } = this
    const end = table.end.bind(table)
    table.end = (link, reason) => {
      if (reason !== "Replaced" || !link.isInbound) end(link, reason)
    }
  }

  override closed(link: PeerLink): void {
    const { peer } = link
    super.closed(link)
    if (peer === undefined || peer.inbound !== undefined) return
    peer.inbound = [...this.table.links].find((other) => other.isInbound && other.peer === peer)
  }
}

/** Drains what a link has read once more when it is closed. */
class DrainingTwice extends Node {
  readonly #last = new Map<PeerLink, Uint8Array>()

  override take(link: PeerLink, frame: FrameView, isAnswered: boolean): void {
    if (frame.type === Type.publish) this.#last.set(link, frame.bytes.slice(frame.from, frame.to))
    super.take(link, frame, isAnswered)
  }

  override closed(link: PeerLink): void {
    const last = this.#last.get(link)
    const view = new FrameView()
    if (last !== undefined && view.read(last, 0, last.length) === undefined) {
      super.take(link, view, false)
    }
    this.#last.delete(link)
    super.closed(link)
  }
}

/** Does not notice that a connection has ended. */
class KeepingLostLinks extends Node {
  override closed(link: PeerLink): void {
    if (!link.isProven || link.isInbound) super.closed(link)
  }
}

/** Connections outlive what has opened them. */
const leaking = (pool: IoPool["Service"]): IoPool["Service"] => ({
  ...pool,
  connect: (options) =>
    Effect.flatMap(Scope.make(), (scope) => pool.connect(options).pipe(Scope.provide(scope)))
})

/** The parts that a variant replaces. */
export interface Variant {
  readonly Node?: Parts["Node"]
  readonly pool?: (pool: IoPool["Service"]) => IoPool["Service"]
}

export const variants = {
  "admit-anyone": { Node: AdmittingAnyone },
  "fooled-by-sleep": { Node: FooledBySleep },
  "read-older-links": { Node: ReadingOlderLinks },
  "drain-twice": { Node: DrainingTwice },
  "keep-lost-links": { Node: KeepingLostLinks },
  "leak-dials": { pool: leaking }
} satisfies Record<string, Variant>

export const ungated: Variant = { Node: Ungated }
