/**
 * The storage of an Effect Cluster in a simulation: runners, shard locks and messages.
 *
 * All of `effect/cluster` runs unmodified over it: sharding, entities, their clients. Locks and
 * registrations expire as those of `SqlRunnerStorage` do. Each operation takes some time each way;
 * in a simulation the storage is also out of a runner's reach, as chaos sites of the run: `cluster
 * request lost` and `cluster answer lost`. Runners are connected only by this storage, so a message
 * for an entity of another runner has to be `ClusterSchema.Persisted`.
 *
 * Make it outside of the simulated processes: it is the database between them.
 */

import * as ClusterError from "effect/cluster/ClusterError"
import * as MachineId from "effect/cluster/MachineId"
import * as MessageStorage from "effect/cluster/MessageStorage"
import type * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import type * as ShardId from "effect/cluster/ShardId"
import * as Sharding from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Snowflake from "effect/cluster/Snowflake"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Chaos from "../actors/kernel/Chaos.ts"
import { note } from "./Sim.ts"

/** Least duration of a request or an answer, in milliseconds, and the longest addition. */
const [SHORTEST, SPREAD] = [0.1, 2]
/** Milliseconds until a lost request fails: longer than a shard lock lasts, which is 35 seconds. */
const DEADLINE = 60_000

/** The settings of all runners of a cluster; each has Effect's default. */
export type Settings = Partial<ShardingConfig.ShardingConfig["Service"]>

/** The handle of a cluster. */
export interface SimCluster {
  /** Sharding of a runner of that name, for the effect of one simulated process. */
  readonly runner: (name: string) => Layer.Layer<Sharding.Sharding>
  /** Sharding for a program that only sends messages. */
  readonly client: Layer.Layer<Sharding.Sharding>
  /** The storage alone, for runners that are built by hand. */
  readonly storage: Layer.Layer<RunnerStorage.RunnerStorage | MessageStorage.MessageStorage>
}

/** The stored data of a runner. */
interface Registration {
  readonly runner: Runner.Runner
  readonly machine: MachineId.MachineId
  healthy: boolean
  seenAt: number
}

/** The holder of a shard's lock, and when it was last confirmed. */
interface Lock {
  readonly holder: string
  at: number
}

const trip = Effect.flatMap(Random.next, (share) =>
  Effect.sleep(Duration.millis(SHORTEST + share * SPREAD))
)

const lost = (site: string): Effect.Effect<void, ClusterError.PersistenceError> => {
  const error = new ClusterError.PersistenceError({ cause: new Error(site) })
  return Chaos.failure(site, () => error).pipe(
    Effect.catch((error) => Effect.andThen(Effect.sleep(DEADLINE), Effect.fail(error)))
  )
}

/** Runs an operation of a runner over a network. */
const remote = <A, E, R>(
  operation: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ClusterError.PersistenceError, R> =>
  lost("cluster request lost").pipe(
    Effect.andThen(trip),
    Effect.andThen(operation),
    Effect.tap(() => lost("cluster answer lost")),
    Effect.tap(() => trip)
  )

const nameOf = ({ host, port }: RunnerAddress.RunnerAddress): string => `${host}:${port}`

/** The tables of the storage, with the storage's clock. */
class Tables {
  readonly #runners = new Map<string, Registration>()
  readonly #locks = new Map<string, Lock>()
  readonly #expiresAfterMs: number
  readonly #now: () => number

  constructor(expiration: Duration.Input, now: () => number) {
    this.#expiresAfterMs = Duration.toMillis(Duration.fromInputUnsafe(expiration))
    this.#now = now
  }

  runners(): Array<readonly [Runner.Runner, boolean]> {
    const present = [...this.#runners.values()].filter(({ seenAt }) => this.#isCurrent(seenAt))
    return present.map(({ healthy, runner }) => [runner, healthy] as const)
  }

  register(runner: Runner.Runner, healthy: boolean): MachineId.MachineId {
    const name = nameOf(runner.address)
    const machine = this.#runners.get(name)?.machine ?? MachineId.make(this.#runners.size + 1)
    this.#runners.set(name, { runner, healthy, machine, seenAt: this.#now() })
    return machine
  }

  unregister(address: RunnerAddress.RunnerAddress): void {
    const registration = this.#runners.get(nameOf(address))
    if (registration !== undefined) registration.seenAt = -Infinity
  }

  setHealth(address: RunnerAddress.RunnerAddress, healthy: boolean): void {
    const registration = this.#runners.get(nameOf(address))
    if (registration !== undefined) registration.healthy = healthy
  }

  /** Takes the locks that are free, expired or held already; returns the runner's shards. */
  acquire(
    address: RunnerAddress.RunnerAddress,
    shards: Iterable<ShardId.ShardId>
  ): Array<ShardId.ShardId> {
    const holder = nameOf(address)
    return [...shards].filter((shard) => {
      const lock = this.#locks.get(String(shard))
      const isFree = lock === undefined || lock.holder === holder || !this.#isCurrent(lock.at)
      if (isFree) this.#locks.set(String(shard), { holder, at: this.#now() })
      return isFree
    })
  }

  /** Confirms a runner and those of its locks that it still has; returns these. */
  refresh(
    address: RunnerAddress.RunnerAddress,
    shards: Iterable<ShardId.ShardId>
  ): Array<ShardId.ShardId> {
    const holder = nameOf(address)
    const registration = this.#runners.get(holder)
    if (registration !== undefined) registration.seenAt = this.#now()
    return [...shards].filter((shard) => {
      const lock = this.#locks.get(String(shard))
      if (lock?.holder !== holder) return false
      lock.at = this.#now()
      return true
    })
  }

  release(address: RunnerAddress.RunnerAddress, shard?: ShardId.ShardId): void {
    for (const [key, { holder }] of this.#locks) {
      const isNamed = shard === undefined || key === String(shard)
      if (isNamed && holder === nameOf(address)) this.#locks.delete(key)
    }
  }

  #isCurrent(at: number): boolean {
    return this.#now() - at < this.#expiresAfterMs
  }
}

const runnerStorage = (tables: Tables): RunnerStorage.RunnerStorage["Service"] => {
  const op = <A>(run: () => A) => remote(Effect.sync(run))
  return RunnerStorage.RunnerStorage.of({
    getRunners: op(() => tables.runners()),
    register: (runner, healthy) => op(() => tables.register(runner, healthy)),
    unregister: (address) => op(() => tables.unregister(address)),
    setRunnerHealth: (address, healthy) => op(() => tables.setHealth(address, healthy)),
    acquire: (address, shards) =>
      op(() => tables.acquire(address, shards)).pipe(
        Effect.tap((taken) => note(`${address.host} holds ${taken.map(String).join(" ")}`))
      ),
    refresh: (address, shards) => op(() => tables.refresh(address, shards)),
    release: (address, shard) => op(() => tables.release(address, shard)),
    releaseAll: (address) => op(() => tables.release(address))
  })
}

/** Message storage of a runner; waits for replies are in each runner's memory. */
const messageStorage = (stored: MessageStorage.Encoded) =>
  MessageStorage.makeEncoded({
    saveEnvelope: (options) => remote(stored.saveEnvelope(options)),
    saveReply: (reply) => remote(stored.saveReply(reply)),
    clearReplies: (id, options) => remote(stored.clearReplies(id, options)),
    requestIdForPrimaryKey: (key) => remote(stored.requestIdForPrimaryKey(key)),
    repliesFor: (ids) => remote(stored.repliesFor(ids)),
    repliesForUnfiltered: (ids) => remote(stored.repliesForUnfiltered(ids)),
    unprocessedMessages: (ids, now, options) =>
      remote(stored.unprocessedMessages(ids, now, options)),
    unprocessedMessagesById: (ids, now) => remote(stored.unprocessedMessagesById(ids, now)),
    resetRequests: (ids) => remote(stored.resetRequests(ids)),
    resetAddresses: (addresses) => remote(stored.resetAddresses(addresses)),
    clearAddress: (address) => remote(stored.clearAddress(address)),
    resetShards: (ids) => remote(stored.resetShards(ids)),
    withTransaction: stored.withTransaction
  })

/** Makes the storage of a cluster, and its layers. */
export const make = Effect.fnUntraced(function* (settings: Settings = {}) {
  const clock = yield* Clock.Clock
  const expiration = settings.shardLockExpiration ?? ShardingConfig.defaults.shardLockExpiration
  const tables = new Tables(expiration, () => clock.currentTimeMillisUnsafe())
  const driver = yield* MessageStorage.MemoryDriver.make.pipe(
    Effect.provide(Snowflake.layerGenerator)
  )
  const storage = Layer.merge(
    Layer.effect(MessageStorage.MessageStorage, messageStorage(driver.encoded)),
    Layer.succeed(RunnerStorage.RunnerStorage, runnerStorage(tables))
  ).pipe(Layer.provide(Snowflake.layerGenerator))
  const over = (runnerAddress: Option.Option<RunnerAddress.RunnerAddress>) =>
    Sharding.layer.pipe(
      Layer.provide([Runners.layerNoop, RunnerHealth.layerNoop]),
      Layer.provide([storage, ShardingConfig.layer({ ...settings, runnerAddress })])
    )
  const cluster: SimCluster = {
    runner: (name) => over(Option.some(RunnerAddress.make(name, 1))),
    client: over(Option.none()),
    storage
  }
  return cluster
})
