/** JSON as other people's libraries write it: any white space, any escapes, any order, keys that come twice. */
import * as fc from "fast-check"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | Members | { readonly [key: string]: Json }

export type Entry = readonly [key: string, value: Json]

/** An object whose names may come twice. */
export class Members {
  readonly entries: ReadonlyArray<Entry>

  constructor(entries: ReadonlyArray<Entry>) {
    this.entries = entries
  }
}

export interface Written {
  readonly text: string
  /** Where each member's value stands, in characters. */
  readonly places: ReadonlyArray<{ readonly key: string; readonly start: number; readonly end: number }>
}

/** Decides, choice by choice, how something is spelled; begins anew when it runs out. */
type Style = (choices: number) => number

const styleOf = (numbers: ReadonlyArray<number>): Style => {
  let at = 0
  return (choices) => (numbers[at++ % numbers.length] ?? 0) % choices
}

const spaces = ["", "", "", " ", "\n", "\t", "\r\n", "  \n\t "]

const space = (style: Style): string => spaces[style(spaces.length)] ?? ""

const short: Record<string, string> = { '"': '\\"', "\\": "\\\\", "/": "\\/", "\n": "\\n", "\t": "\\t", "\r": "\\r" }

const escaped = (unit: string, upper: boolean): string => {
  const hex = unit.charCodeAt(0).toString(16).padStart(4, "0")
  return `\\u${upper ? hex.toUpperCase() : hex}`
}

const writeString = (value: string, style: Style): string => {
  let text = '"'
  for (const unit of value.split("")) {
    const code = unit.charCodeAt(0)
    const mustEscape = code < 0x20 || unit === '"' || unit === "\\" || (code >= 0xd800 && code <= 0xdfff)
    const choice = style(5)
    if (choice === 0 || (mustEscape && short[unit] === undefined)) text += escaped(unit, style(2) === 0)
    else if (mustEscape || (choice === 1 && short[unit] !== undefined)) text += short[unit] ?? unit
    else text += unit
  }
  return `${text}"`
}

const writeNumber = (value: number, style: Style): string => {
  const plain = JSON.stringify(value)
  return Number.isInteger(value) && Math.abs(value) < 1e15 && style(3) === 0 ? `${plain}.0` : plain
}

const writeValue = (value: Json, style: Style): string => {
  if (typeof value === "string") return writeString(value, style)
  if (typeof value === "number") return writeNumber(value, style)
  if (value === null || typeof value === "boolean") return String(value)
  if (isList(value)) {
    const items = value.map((item) => space(style) + writeValue(item, style) + space(style))
    return `[${items.length === 0 ? space(style) : items.join(",")}]`
  }
  return writeObject(value instanceof Members ? value.entries : Object.entries(value), style).text
}

const isList = (value: Json): value is ReadonlyArray<Json> => Array.isArray(value)

const writeObject = (entries: ReadonlyArray<Entry>, style: Style): Written => {
  const places: Array<Written["places"][number]> = []
  let text = "{"
  for (const [index, [key, value]] of entries.entries()) {
    text += `${index === 0 ? "" : ","}${space(style)}${writeString(key, style)}${space(style)}:${space(style)}`
    const start = text.length
    text += writeValue(value, style)
    places.push({ key, start, end: text.length })
    text += space(style)
  }
  return { text: `${text}${entries.length === 0 ? space(style) : ""}}`, places }
}

/** The members written down as an object, with white space around it. */
export const write = (entries: ReadonlyArray<Entry>, numbers: ReadonlyArray<number>): Written => {
  const style = styleOf(numbers)
  const lead = space(style)
  const { places, text } = writeObject(entries, style)
  const moved = places.map(({ end, key, start }) => ({ key, start: start + lead.length, end: end + lead.length }))
  return { text: lead + text + space(style), places: moved }
}

const awkward = ["model", "Model", "mode", 'mo"del', "model\\", "{", "}", "[", ":", ",", '"', "", "__proto__", "größe"]

const strings = fc.oneof(fc.constantFrom(...awkward), fc.string({ unit: "grapheme", maxLength: 12 }), fc.string())

const numbers = fc.oneof(
  fc.integer(),
  fc.double({ noDefaultInfinity: true, noNaN: true }).filter((n) => !Object.is(n, -0))
)

export const values: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<Json>(null, true, false),
    numbers,
    strings,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(strings, tie("value"), { maxKeys: 4, noNullPrototype: true })
  )
})).value

export const entries: fc.Arbitrary<ReadonlyArray<Entry>> = fc.array(fc.tuple(strings, values), { maxLength: 8 })

export const styles: fc.Arbitrary<ReadonlyArray<number>> = fc.array(fc.nat({ max: 1000 }), {
  minLength: 1,
  maxLength: 60
})
