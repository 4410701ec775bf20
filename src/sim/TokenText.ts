/** What the simulated model says: nothing, at length, and the same each time it is asked the same. */
import { makeRandom } from "./Random.ts"

/** Some are beyond ASCII, so that a program that splits bytes carelessly is found out. */
const words = [
  " the",
  " water",
  " over",
  " a",
  " weir",
  " falls",
  " and",
  " each",
  " token",
  " finds",
  " its",
  " way",
  " down",
  " naïve",
  " stream",
  " of",
  " 水",
  " words",
  " to",
  " sea",
  " 🌊",
  ",",
  "."
] as const

/** `count` tokens of text; joined, they are the whole text. */
export const writeTokens = (seed: number, count: number): ReadonlyArray<string> => {
  const random = makeRandom(seed)
  return Array.from({ length: count }, (_, index) => {
    const word = words[Math.floor(random() * words.length)] ?? "."
    return index === 0 ? "Weir" : word
  })
}

/** Cuts a text into tokens of about four characters, never through one of them. */
export const cutIntoTokens = (text: string): ReadonlyArray<string> => {
  const characters = Array.from(text)
  return Array.from({ length: Math.ceil(characters.length / 4) }, (_, index) =>
    characters.slice(index * 4, index * 4 + 4).join("")
  )
}
