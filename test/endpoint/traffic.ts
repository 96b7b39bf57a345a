/** Hosts that open endpoints to each other and write, and a witness that keeps the books. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { ReadyLink } from "../../src/actors/endpoint/ReadyLink.ts"
import type { Region } from "../../src/native/verbs/Region.ts"
import { SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import { Sim } from "../../src/testing/index.ts"
import type { SimHandshakes } from "../../src/testing/SimHandshakes.ts"
import { card, type Host, pathOf, type Rules } from "./world.ts"

/** What is known outside of all hosts. */
export class Witness {
  /** Where each host may be written. */
  readonly targets = new Map<string, Region>()
  /** Writes of a host's present life that were posted and have not ended. */
  readonly out = new Map<string, number>()
  /** Good ends, by `from to`. */
  readonly arrived = new Map<string, number>()
  isOver = false

  note(from: string, to: string): void {
    const key = `${from} ${to}`
    this.arrived.set(key, (this.arrived.get(key) ?? 0) + 1)
  }
}

const posted = (witness: Witness, host: string, change: number): void => {
  witness.out.set(host, (witness.out.get(host) ?? 0) + change)
}

/** Posts one write, if the link takes it. */
const write = (witness: Witness, from: string, to: string, source: Region, link: ReadyLink) => {
  const target = witness.targets.get(to)
  if (target === undefined) return
  const request = new SendRequest()
  request.id = Number.parseInt(to, 36)
  request.opcode = "write"
  request.parts.add(source)
  request.remote(target.remoteKey, target.address)
  if (link.post(request) === "accepted") posted(witness, from, 1)
}

const completions = (
  witness: Witness,
  { nic }: Host,
  host: string,
  links: Map<string, ReadyLink>
) =>
  nic.completions.completions.pipe(
    Stream.runForEach(({ id, status }) =>
      Effect.gen(function* () {
        const to = id.toString(36)
        posted(witness, host, -1)
        if (status === "success") return witness.note(host, to)
        links.delete(to)
      })
    ),
    Effect.ignore
  )

/** Opens endpoints to others, at random moments, and writes. */
export const host = (
  witness: Witness,
  network: SimHandshakes,
  name: string,
  others: ReadonlyArray<string>,
  rules: Rules
) =>
  Effect.gen(function* () {
    witness.out.set(name, 0)
    const self = yield* card(network, name, { rules })
    const region = yield* self.nic.domain.register({
      memory: 256,
      access: ["local-write", "remote-write"]
    })
    witness.targets.set(name, region)
    const source = yield* self.nic.domain.register({ memory: 16 })
    const links = new Map<string, ReadyLink>()
    yield* Effect.forkScoped(completions(witness, self, name, links))
    while (!witness.isOver) {
      // A program that loses its card begins again; whoever runs it starts it.
      yield* self.nic.place
      const to = others[yield* Random.nextIntBetween(0, others.length)]!
      const link = yield* self.store.open(pathOf(to)).pipe(
        Effect.tapError((e) => Sim.note(`${name} open ${to}: ${e.message}`)),
        Effect.option
      )
      if (link._tag === "Some") {
        links.set(to, link.value)
        write(witness, name, to, source, link.value)
        write(witness, name, to, source, link.value)
        yield* Effect.sleep(yield* Random.nextBetween(0, 20))
        if (!links.has(to)) yield* self.store.retire(link.value, "broken", "its work failed")
        else if ((yield* Random.next) < 0.1) {
          yield* self.store.retire(link.value, "retired", "nobody needs it")
        }
      }
      yield* Effect.sleep(yield* Random.nextBetween(0, 100))
    }
    yield* Effect.sleep("30 seconds")
  })
