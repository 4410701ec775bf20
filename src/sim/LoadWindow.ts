/** The highest load of the last few seconds, as a GPU's monitor would tell it. */

export interface LoadWindow {
  readonly note: (load: number, now: number) => void
  readonly peak: (now: number) => number
}

export const makeLoadWindow = (windowMillis: number): LoadWindow => {
  // Each entry holds from its time until the next one's, so the last entry before the window still counts.
  let entries: ReadonlyArray<{ readonly load: number; readonly at: number }> = []

  const prune = (now: number): void => {
    const inside = entries.findIndex(({ at }) => at > now - windowMillis)
    if (inside > 1) entries = entries.slice(inside - 1)
    else if (inside === -1) entries = entries.slice(-1)
  }

  return {
    note: (load, now) => {
      if (entries.at(-1)?.load === load) return
      prune(now)
      entries = [...entries, { load, at: now }]
    },
    peak: (now) => {
      prune(now)
      return entries.reduce((highest, { load }) => Math.max(highest, load), 0)
    }
  }
}
