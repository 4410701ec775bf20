/** Where lines go: gathered for a moment, written together, and dropped while nothing reads them. */

export interface LogOutput {
  /** Takes whole lines. */
  readonly write: (text: string) => void
  /** Whether what was written before is read: if not, what is written now would stay in memory. */
  readonly hasRoom: () => boolean
  /** Calls `tell` whenever there is room again; the answer ends that. */
  readonly onRoom: (tell: () => void) => () => void
}

export interface LogSink {
  /** A line may be handed over unwritten: made together, lines cost a fraction of what each costs in between. */
  readonly add: (line: string | (() => string), urgent: boolean) => void
  readonly flush: () => void
}

/** Milliseconds that a line may wait for others. */
const gatheringMillis = 100

/** So many lines are written without waiting for more. */
const maxGatheredLines = 512

/**
 * Gathers lines until their time has come, or until `urgent`. Lines that come while the output has no room are counted
 * and gone; `dropped` makes the line that tells their number, which is the first one after that.
 */
export const makeLogSink = (output: LogOutput, dropped: (count: number) => string): LogSink => {
  let pending: Array<string | (() => string)> = []
  let timer: NodeJS.Timeout | undefined
  let lost = 0
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (pending.length === 0 && lost === 0) return
    const gathered = pending
    pending = []
    if (!output.hasRoom()) {
      lost += gathered.length
      return
    }
    const told = lost === 0 ? "" : dropped(lost)
    lost = 0
    output.write(told + gathered.map((line) => (typeof line === "string" ? line : line())).join(""))
  }
  const add: LogSink["add"] = (line, urgent) => {
    pending.push(line)
    if (urgent || pending.length >= maxGatheredLines) flush()
    // Unreferenced: what is still to be said keeps no program alive, it is said at its end.
    else timer ??= setTimeout(flush, gatheringMillis).unref()
  }
  return { add, flush }
}

/** The text that stderr may hold in memory, in bytes, while nothing reads it. */
const maxUnreadBytes = 1024 * 1024

/** A reader of stderr that has gone away, or stands still, must not bring the gateway down. */
export const stderrOutput: LogOutput = {
  write: (text) => {
    if (process.stderr.writable) process.stderr.write(text)
  },
  hasRoom: () => process.stderr.writableLength < maxUnreadBytes,
  onRoom: (tell) => {
    process.stderr.on("drain", tell)
    return () => process.stderr.off("drain", tell)
  }
}
