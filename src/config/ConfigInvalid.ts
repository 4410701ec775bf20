/** Tells of a configuration that cannot be used. */
import { ConfigInvalid, type Problem } from "../domain/ConfigInvalid.ts"
import { escapeActing, scrub } from "../telemetry/Telemetry.ts"

/**
 * Every problem, without credentials and control characters that stand in what it quotes: a name may be an address that
 * was written in the wrong place.
 */
export const configInvalid = (source: string, problems: ReadonlyArray<Problem>): ConfigInvalid =>
  new ConfigInvalid({
    source,
    problems: problems.map(({ message, path, ...rest }) => ({
      ...rest,
      path: escapeActing(scrub(path)),
      message: escapeActing(scrub(message))
    }))
  })
