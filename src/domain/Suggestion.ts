/** What a word that is not known was most likely meant to be. */
import { closest, distance } from "fastest-levenshtein"

/** The known word that `word` is most likely a slip of, if any is near enough. */
export const suggestion = (word: string, known: ReadonlyArray<string>): string | undefined => {
  if (known.length === 0) return undefined
  const nearest = closest(word.toLowerCase(), known)
  const near = Math.min(word.length - 1, Math.max(2, Math.floor(word.length / 2)))
  return distance(word.toLowerCase(), nearest.toLowerCase()) <= near ? nearest : undefined
}
