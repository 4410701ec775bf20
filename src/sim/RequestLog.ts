/** What became of every request: counts since the last reset, and the last requests one by one. */

/** How a request ended: written to its end, by its client's going, or with an error status or a broken connection. */
export type Outcome = "running" | "finished" | "cancelled" | "failed"

/** One request as it arrived, and what became of it. */
export interface RequestRecord {
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** Names and values as they came over the wire, in order. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly startedAt: number
  model: string | undefined
  stream: boolean | undefined
  /** Length and SHA-256 of the body, where it was read. */
  body: { readonly bytes: number; readonly sha256: string } | undefined
  /** The kind of the fault that was played. */
  fault: string | undefined
  /** Of the answer; `undefined` while there is none. */
  status: number | undefined
  outcome: Outcome
}

export interface Counts {
  started: number
  finished: number
  cancelled: number
  failed: number
  readonly byPath: Map<string, number>
  readonly faultsPlayed: Map<string, number>
}

/** An open request's place in the books. */
export interface Entry {
  readonly record: RequestRecord
  /** Closes the entry; only the first call counts. */
  readonly close: (outcome: Exclude<Outcome, "running">, status: number | undefined) => void
  readonly meet: (faultKind: string) => void
}

export interface RequestLog {
  readonly open: (arrival: Pick<RequestRecord, "method" | "url" | "headers" | "startedAt">, counted: boolean) => Entry
  readonly counts: () => Readonly<Counts>
  /** The last requests, oldest first. */
  readonly recent: (limit: number) => ReadonlyArray<RequestRecord>
  /** Counts a fault that is not about one request. */
  readonly faultPlayed: (kind: string) => void
  /** Closes all open entries: their connections are about to be destroyed. */
  readonly failAll: () => void
  readonly reset: () => void
}

/** How many requests are remembered one by one. */
export const recentLimit = 200

const pathLimit = 100

export const makeRequestLog = (): RequestLog => {
  let counts = noCounts()
  let recent: Array<RequestRecord> = []
  const unsettled = new Set<Entry>()

  const open: RequestLog["open"] = (arrival, counted) => {
    // An entry that was opened before a reset must not be counted after it.
    const book = counts
    const record: RequestRecord = { ...arrival, ...blank, outcome: "running" }
    recent.push(record)
    if (recent.length > recentLimit) recent = recent.slice(-recentLimit)
    const path = arrival.url.split("?")[0] ?? arrival.url
    add(book.byPath, book.byPath.has(path) || book.byPath.size < pathLimit ? path : "other")
    if (counted) book.started++
    const entry: Entry = {
      record,
      close: (outcome, status) => {
        if (!unsettled.delete(entry)) return
        record.outcome = outcome
        record.status = status
        if (counted) book[outcome]++
      },
      meet: (faultKind) => {
        record.fault = faultKind
        add(book.faultsPlayed, faultKind)
      }
    }
    unsettled.add(entry)
    return entry
  }

  return {
    open,
    counts: () => counts,
    recent: (limit) => (limit <= 0 ? [] : recent.slice(-limit)),
    faultPlayed: (kind) => add(counts.faultsPlayed, kind),
    failAll: () => {
      for (const entry of unsettled) entry.close("failed", undefined)
    },
    reset: () => {
      counts = noCounts()
      recent = []
    }
  }
}

const blank = { model: undefined, stream: undefined, body: undefined, fault: undefined, status: undefined }

const noCounts = (): Counts => ({
  started: 0,
  finished: 0,
  cancelled: 0,
  failed: 0,
  byPath: new Map(),
  faultsPlayed: new Map()
})

const add = (counters: Map<string, number>, key: string): void => {
  counters.set(key, (counters.get(key) ?? 0) + 1)
}
