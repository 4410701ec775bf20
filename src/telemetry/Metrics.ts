/**
 * The gateway's metrics, as the contract names them. Labels come from names that exist, configured or (bounded)
 * listed by backends, so that no client can make a series; what is not known is `other`.
 *
 * Handles are made once for each combination of labels and kept: an update is one table lookup and one addition.
 */
import { Context, Effect, Layer, Metric } from "effect"
import { type FamilyDescription, families } from "./Families.ts"
import { type IsCurrent, SeriesTree, type Update } from "./SeriesTree.ts"

/**
 * The series of one family that has these labels. All are named, so that none is left out or in another's place; the
 * object costs some 5 ns more than values by position.
 */
type Family<Label extends string> = (labels: Readonly<Record<Label, string>>) => Update

type LabelOf<Description> = Description extends FamilyDescription<infer Label> ? Label : never

type Families = {
  readonly [Key in Exclude<keyof typeof families, "overhead">]: Family<LabelOf<(typeof families)[Key]>>
}

export class Metrics extends Context.Service<
  Metrics,
  Families & {
    readonly overhead: Update
    /** A metric that is read when it is asked for; the answer ends it. */
    readonly observe: (
      name: string,
      description: string,
      labels: Record<string, string>,
      read: () => number
    ) => () => void
    /** Drops the series of names that have been gone for an hour; to be called now and then with a monotonic time. */
    readonly sweep: (now: number, isCurrent: IsCurrent) => void
    /** The same for what only grows. */
    readonly observeTotal: (name: string, description: string, read: () => number) => () => void
  }
>()("weir/telemetry/Metrics") {
  /** Metrics live in the registry of the context, so two gateways in one process do not share them. */
  static readonly layer = Layer.effect(
    Metrics,
    Effect.map(Effect.context(), (context) => {
      const trees: Array<Pick<SeriesTree<string>, "sweep">> = []
      // Each series is a metric with attributes of its own: through `withAttributes` its key would be made at every update.
      const family = <Label extends string>(description: FamilyDescription<Label>): Family<Label> => {
        const tree = new SeriesTree(description.labels, (attributes) => {
          const metric = metricOf(description, attributes)
          return {
            update: (value) => metric.updateUnsafe(value, context),
            remove: () => Metric.removeUnsafe(metric, context)
          }
        })
        trees.push(tree)
        return (labels) => tree.of(labels)
      }

      return Metrics.of({
        httpRequests: family(families.httpRequests),
        httpDuration: family(families.httpDuration),
        httpErrors: family(families.httpErrors),
        connectionsRefused: family(families.connectionsRefused),
        rateLimited: family(families.rateLimited),
        rejected: family(families.rejected),
        queueWait: family(families.queueWait),
        upstreamRequests: family(families.upstreamRequests),
        upstreamDuration: family(families.upstreamDuration),
        upstreamErrors: family(families.upstreamErrors),
        retries: family(families.retries),
        circuitChanges: family(families.circuitChanges),
        circuitCalls: family(families.circuitCalls),
        firstToken: family(families.firstToken),
        interToken: family(families.interToken),
        tokens: family(families.tokens),
        streamEnds: family(families.streamEnds),
        sticky: family(families.sticky),
        configReloads: family(families.configReloads),
        overhead: family(families.overhead)({}),
        sweep: (now, isCurrent) => {
          for (const tree of trees) tree.sweep(now, isCurrent)
        },
        observe: (name, description, labels, read) => {
          const gauge = Metric.withAttributes(Metric.gauge(name, { description }), labels)
          const registration = Metric.registerUnsafe(gauge, context, {
            get: () => ({ value: read() }),
            update: () => {},
            modify: () => {}
          })
          return () => registration.remove()
        },
        observeTotal: (name, description, read) => {
          const registration = Metric.registerUnsafe(
            Metric.counter(name, { description, incremental: true }),
            context,
            {
              get: () => ({ count: read(), incremental: true }),
              update: () => {},
              modify: () => {}
            }
          )
          return () => registration.remove()
        }
      })
    })
  )
}

const metricOf = (
  { buckets, description, kind, name }: FamilyDescription,
  attributes: Record<string, string>
): Metric.Metric<number, unknown> =>
  kind === "counter"
    ? Metric.counter(name, { description, attributes, incremental: true })
    : Metric.histogram(name, { description, attributes, boundaries: buckets ?? [] })
