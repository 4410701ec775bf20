/**
 * The series of one metric, found by the values of its labels: a tree by label, since the values are texts that exist
 * already, while one key of them all would be made at every update.
 */

/** Adds to a counter, or records into a histogram, of one series. */
export type Update = (value: number) => void

export interface Series {
  readonly update: Update
  /** It is gone from what is exposed, and begins at 0 when it is made again. */
  readonly remove: () => void
}

/** Whether a name is one that exists now. `label` says what kind of name. */
export type IsCurrent = (label: string, name: string) => boolean

/** Labels whose values are names that come and go; others have a few fixed values. */
const namingLabels: ReadonlySet<string> = new Set(["listener", "pool", "backend", "model", "key"])

/** For so long the series of a name that is gone are kept, in milliseconds: it may come back. */
export const keptForMillis = 3_600_000

export class SeriesTree<Label extends string> {
  readonly #labels: ReadonlyArray<Label>
  readonly #make: (attributes: Record<string, string>) => Series
  readonly #root = new Branch()

  constructor(labels: ReadonlyArray<Label>, make: (attributes: Record<string, string>) => Series) {
    this.#labels = labels
    this.#make = make
  }

  /** The same function for the same values, for as long as the series exists. */
  of(values: Readonly<Record<Label, string>>): Update {
    let branch = this.#root
    for (const label of this.#labels) branch = branch.next(values[label])
    branch.handle ??= this.#handle(values)
    return branch.handle.update
  }

  /** Removes series with a name that has been gone for {@link keptForMillis}; `now` is monotonic. */
  sweep(now: number, isCurrent: IsCurrent): void {
    this.#sweep(this.#root, 0, now, isCurrent)
  }

  #sweep(branch: Branch, depth: number, now: number, isCurrent: IsCurrent): void {
    const label = this.#labels[depth] ?? ""
    for (const [value, child] of branch.children) {
      const isGone = namingLabels.has(label) && value !== "other" && !isCurrent(label, value)
      child.goneAt = isGone ? (child.goneAt ?? now) : undefined
      if (child.goneAt !== undefined && now - child.goneAt >= keptForMillis) {
        child.remove()
        branch.children.delete(value)
      } else this.#sweep(child, depth + 1, now, isCurrent)
    }
  }

  #handle(values: Readonly<Record<Label, string>>): Series {
    const attributes = Object.fromEntries(this.#labels.map((label) => [label, values[label]]))
    const { remove, update } = this.#make(attributes)
    let isRemoved = false
    return {
      // A stream that outlives its names may still hold it: it must not bring them back.
      update: (value) => {
        if (!isRemoved) update(value)
      },
      remove: () => {
        isRemoved = true
        remove()
      }
    }
  }
}

/** A place among the series: so many values of the labels are given. Mutable: it grows with what is seen. */
class Branch {
  handle: Series | undefined
  goneAt: number | undefined
  readonly children = new Map<string, Branch>()

  next(value: string): Branch {
    const known = this.children.get(value)
    if (known !== undefined) return known
    const made = new Branch()
    this.children.set(value, made)
    return made
  }

  remove(): void {
    this.handle?.remove()
    for (const child of this.children.values()) child.remove()
  }
}
