/** Where the texts of messages stand, kept within bounds: what they say is read when it is asked for. */
import { maxEscapeBytes, textAt } from "./JsonText.ts"

/** Characters that are kept of all that the system says: more than any introduction takes. */
export const maxSearchedChars = 16_384

/** What a message costs of that, however short it is. */
export const minSearchedChars = 128

/** The texts of one content: where each begins and ends, in turn. */
export type Parts = ReadonlyArray<number>

/** The texts of the content that is being read. */
export class PartsDraft {
  readonly #places: Array<number> = []
  #size = 0
  #left = maxSearchedChars

  clear(): void {
    this.#size = 0
    this.#left = maxSearchedChars
  }

  /** A text from its opening to behind its closing quote. */
  add(start: number, end: number): void {
    if (this.#left <= 0) return
    this.#left -= leastCharacters(start, end)
    this.#places[this.#size++] = start
    this.#places[this.#size++] = end
  }

  get parts(): Parts | undefined {
    return this.#size === 0 ? undefined : this.#places.slice(0, this.#size)
  }
}

/** Contents, until as much is kept as will be looked at. */
export class KeptContents {
  readonly all: Array<Parts> = []
  #left = maxSearchedChars

  get isFull(): boolean {
    return this.#left <= 0
  }

  /** Until it is full. */
  push(parts: Parts): void {
    let characters = 0
    for (let i = 0; i < parts.length; i += 2) characters += leastCharacters(parts[i] ?? 0, parts[i + 1] ?? 0)
    this.#left -= Math.max(minSearchedChars, characters)
    this.all.push(parts)
  }
}

/** A line each. */
export const textOf = (bytes: Buffer, parts: Parts): string => {
  const lines: Array<string> = []
  for (let i = 0; i < parts.length; i += 2)
    lines.push(textAt(bytes, parts[i] ?? 0, parts[i + 1] ?? 0, maxSearchedChars))
  return lines.join("\n")
}

/** How many characters a text has at least, with the end of its line. */
const leastCharacters = (start: number, end: number): number => Math.floor((end - start - 2) / maxEscapeBytes) + 1
