/** Options that more than one sub-command has. */
import { Schema } from "effect"
import { Flag } from "effect/cli"
import { Span } from "../domain/Units.ts"

/** Whatever can be read: a pipe such as `<(…)` too. What cannot be read is told by the loader. */
export const config = Flag.Path("config").pipe(
  Flag.withAlias("c"),
  Flag.withDescription("The configuration file (else WEIR_CONFIG, else ./weir.yaml, else the environment alone)"),
  Flag.optional
)

export const Port = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })))

export const port = Flag.Int("port").pipe(Flag.withAlias("p"), Flag.withSchema(Port))

/** A duration such as 500ms, 2s or 1m. */
export const duration = (name: string) => Flag.String(name).pipe(Flag.withSchema(Span))
