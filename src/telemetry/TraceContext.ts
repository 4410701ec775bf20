/** The W3C context of a trace, as text. */

/** The bit that says so. */
export const sampledFlag = 1

const traceparentForm = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** The context of a `traceparent`; `undefined` where it is none. */
export const contextOf = (traceparent: string) => {
  const [, traceId, spanId, flags] = traceparentForm.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}

/** The trace that a `traceparent` belongs to, sampled or not. */
export const traceIdOf = (traceparent: string | undefined): string | undefined =>
  traceparent === undefined ? undefined : traceparentForm.exec(traceparent)?.[1]

/** Of any version, since a later one has the flags in the same place. */
const flagsForm = /^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-)([0-9a-f]{2})/

/** The same `traceparent`, of a trace that is not sampled. */
export const unsampled = (traceparent: string): string =>
  traceparent.replace(flagsForm, (_, ids: string, flags: string) => {
    const cleared = Number.parseInt(flags, 16) & ~sampledFlag
    return ids + cleared.toString(16).padStart(2, "0")
  })
