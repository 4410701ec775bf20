/**
 * What changes while the gateway runs, as one stream: for the events endpoint, the user interface and whatever else must
 * know without asking again and again. Each subscriber has a buffer of its own; one that is slow loses the oldest
 * events, is told how many, and holds nothing up.
 */
import { Cause, type Clock, Effect, Latch, Schema, type Scope, Stream } from "effect"
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import { HealthStatus } from "../domain/Health.ts"
import { escapeActing, scrub } from "../telemetry/Telemetry.ts"

/** Events that wait for one subscriber at most. */
export const maxPendingEvents = 1024

/** Milliseconds since 1970. */
const Time = Schema.Int

const CircuitPhase = Schema.Literals(["closed", "open", "half_open"])

/** `name`: what it is about. `reason`: in words, for a person. */
const change = <const Kind extends string, State extends Schema.Top>(kind: Kind, state: State) =>
  Schema.Struct({
    kind: Schema.Literal(kind),
    time: Time,
    name: Schema.String,
    from: state,
    to: state,
    reason: Schema.String
  })

export const RegistryEvent = Schema.Union([
  /** What a backend is taken for. */
  change("health", HealthStatus),
  /** A backend's circuit. */
  change("circuit", CircuitPhase),
  /** A backend that is far slower than its peers is asked last for a while. */
  change("ejection", Schema.Literals(["usual", "ejected"])),
  /** How many models a backend lists. */
  change("models", Schema.Int),
  /** The version of the configuration in force; the name is always `configuration`. */
  change("configuration", Schema.Int),
  /** So many events are missing here, the newest of them of that time: the subscriber was too slow for them. */
  Schema.Struct({ kind: Schema.Literal("dropped"), time: Time, count: Schema.Int })
])
export type RegistryEvent = typeof RegistryEvent.Type

type Change = Exclude<RegistryEvent, { readonly kind: "dropped" }>

/** A change as what made it tells it. */
export type Happened = Change extends infer One ? (One extends Change ? Omit<One, "time"> : never) : never

/** Tells subscribers of what happens. Mutable by nature. */
export class EventHub {
  readonly #clock: Clock.Clock
  readonly #subscribers = new Set<Subscriber>()

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Whether there is any subscriber: where there is none, an event need not be made. */
  get isHeard(): boolean {
    return this.#subscribers.size > 0
  }

  /** Plain and synchronous, and done at once where nothing subscribes. */
  readonly publish = (happened: Happened): void => {
    if (!this.isHeard) return
    const reason = escapeActing(scrub(happened.reason))
    const event = { ...happened, reason, time: this.#clock.currentTimeMillisUnsafe() }
    for (const subscriber of this.#subscribers) subscriber.offer(event)
  }

  /** From the moment that it is run; ends with the hub. */
  readonly events: Stream.Stream<RegistryEvent> = Stream.unwrap(
    Effect.suspend(() =>
      Effect.map(this.#subscribed, (subscriber) => Stream.flattenArray(Stream.fromEffectRepeat(subscriber.take)))
    )
  )

  /** Every stream ends when it has told what it still has. */
  readonly end: Effect.Effect<void> = Effect.sync(() => {
    for (const subscriber of this.#subscribers) subscriber.end()
  })

  readonly #subscribed: Effect.Effect<Subscriber, never, Scope.Scope> = Effect.acquireRelease(
    Effect.sync(() => {
      const subscriber = new Subscriber()
      this.#subscribers.add(subscriber)
      return subscriber
    }),
    (subscriber) => Effect.sync(() => this.#subscribers.delete(subscriber))
  )
}

class Subscriber {
  #pending: Array<Change> = []
  #dropped = 0
  #droppedUntil = 0
  #isOver = false
  readonly #news = Latch.makeUnsafe(false)

  offer(event: Change): void {
    if (this.#pending.length >= maxPendingEvents) this.#drop()
    this.#pending.push(event)
    this.#news.openUnsafe()
  }

  end(): void {
    this.#isOver = true
    this.#news.openUnsafe()
  }

  /** What has come since the last time; waits where that is nothing. */
  readonly take: Effect.Effect<NonEmptyReadonlyArray<RegistryEvent>, Cause.Done> = Effect.suspend(() => {
    const events = this.#takeAll()
    if (isReadonlyArrayNonEmpty(events)) return Effect.succeed(events)
    return this.#isOver ? Cause.done() : Effect.andThen(this.#news.await, this.take)
  })

  #takeAll(): ReadonlyArray<RegistryEvent> {
    const pending = this.#pending
    const dropped = this.#dropped
    this.#pending = []
    this.#dropped = 0
    if (!this.#isOver) this.#news.closeUnsafe()
    return dropped === 0 ? pending : [{ kind: "dropped", time: this.#droppedUntil, count: dropped }, ...pending]
  }

  #drop(): void {
    const oldest = this.#pending.shift()
    if (oldest === undefined) return
    this.#dropped++
    this.#droppedUntil = oldest.time
  }
}

/** What a reason lists at most; of more it says how many. */
const maxListed = 10

/** Characters of one of them that it shows: a model's name may be of any length. */
const maxShownChars = 96

/** The first few of many, for a reason. */
export const listed = (all: ReadonlyArray<string>): string => {
  const shown = all.slice(0, maxListed).map((text) => text.slice(0, maxShownChars))
  const rest = all.length - shown.length
  return rest > 0 ? `${shown.join(", ")} and ${rest} more` : shown.join(", ")
}

/** What a backend lists otherwise than before, for a person. */
export const modelsReason = (before: Iterable<string>, now: Iterable<string>): string => {
  const [old, fresh] = [new Set(before), new Set(now)]
  const gone = [...old].filter((name) => !fresh.has(name))
  const come = [...fresh].filter((name) => !old.has(name))
  return [
    ...(come.length > 0 ? [`lists ${listed(come)}`] : []),
    ...(gone.length > 0 ? [`lists no more ${listed(gone)}`] : [])
  ].join("; ")
}
