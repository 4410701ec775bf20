/**
 * Looks through a JSON text byte by byte and says whether `JSON.parse` would take it, without building any of it. It can
 * be stopped anywhere and goes on from there, so that a long text need not be read in one go. What stands where is told
 * to a `JsonListener`, for the few objects and lists that it asks for.
 */
import { TextEnds } from "./JsonText.ts"

/** Deeper is refused: no request of a real client comes near it, and an engine's own parser may have no bound. */
export const maxDepth = 512

/** Told of what it is interested in. A field is a number for a member or item; 0 stands for all that is of no interest. */
export interface JsonListener {
  /** The field for a member's name, from its opening to behind its closing quote, in an object that was entered. */
  readonly name: (place: number, start: number, end: number, isEscaped: boolean) => number
  /** The field for each item of a list that was entered. */
  readonly item: (place: number) => number
  /** An object or list of a field begins: the place to enter it as, 0 for not at all. */
  readonly enter: (field: number, isList: boolean) => number
  /** An object or list of a field has ended; `end` is behind it. */
  readonly leave: (field: number, start: number, end: number, isFilled: boolean) => void
  /** A text, number or word of a field. */
  readonly scalar: (field: number, start: number, end: number) => void
}

/** What may come next. From `inName` on it is the rest of something that has begun. */
const wants = {
  value: 0,
  firstItem: 1,
  name: 2,
  firstName: 3,
  colon: 4,
  /** What follows a value: a comma or the end of the object or list, and nothing where the text is over. */
  after: 5,
  inName: 6,
  inText: 7,
  inDigits: 8,
  inFraction: 9,
  inExponent: 10
} as const

const quote = 0x22
const comma = 0x2c
const minus = 0x2d
const plus = 0x2b
const point = 0x2e
const zero = 0x30
const nine = 0x39
const colon = 0x3a
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const space = 0x20

const isSpace = new Uint8Array(33)
for (const byte of [space, 0x09, 0x0a, 0x0d]) isSpace[byte] = 1

const [wordTrue, wordFalse, wordNull] = ["true", "false", "null"] as const

/** The word that begins with this byte. */
const wordOf = (byte: number): string | undefined =>
  byte === 0x74 ? wordTrue : byte === 0x66 ? wordFalse : byte === 0x6e ? wordNull : undefined

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= zero && byte <= nine

/** What an object or list was opened as: its field, its place, and which of both it is, in one number. */
const opened = (field: number, place: number, isList: boolean): number => (field << 8) | (place << 1) | (isList ? 1 : 0)

export class JsonScanner {
  readonly #bytes: Buffer
  readonly #textEnds: TextEnds
  readonly #listener: JsonListener
  #wants: number = wants.value
  #at = 0
  /** Where the text or number began that is being read. */
  #from = 0
  /** The field of the value that comes next. */
  #field = 0
  /** The object or list that is being read, and those around it with where they began. */
  #open = 0
  #depth = 0
  readonly #outer: Array<number> = []
  readonly #starts: Array<number> = []
  #isTooDeep = false
  #isWrong = false

  /** `bytes` must be valid UTF-8. `field`: of the text as a whole. */
  constructor(bytes: Buffer, listener: JsonListener, field: number) {
    this.#bytes = bytes
    this.#listener = listener
    this.#field = field
    this.#textEnds = new TextEnds(bytes)
  }

  /** How far it has come; where it has stopped, the byte that is wrong. */
  get at(): number {
    return this.#at
  }

  get isTooDeep(): boolean {
    return this.#isTooDeep
  }

  /** Whether what was read is a whole JSON text; asked when all bytes were. */
  get isValid(): boolean {
    if (this.#isWrong || this.#depth > 0 || this.#at < this.#bytes.length) return false
    return this.#wants === wants.after || this.#wants >= wants.inDigits
  }

  /** Reads on to about `until`; `false` where something is wrong. */
  run(until: number): boolean {
    const bytes = this.#bytes
    let at = this.#at
    while (at < until) {
      const byte = bytes[at] ?? 0
      if (byte <= space && this.#wants < wants.inName) {
        if (isSpace[byte] !== 1) return this.#stop(at)
        at++
        continue
      }
      const next = this.#next(byte, at, until)
      if (next < 0) return this.#stop(this.#isWrong ? this.#at : at)
      at = next
    }
    this.#at = at
    return true
  }

  #stop(at: number): false {
    this.#isWrong = true
    this.#at = at
    return false
  }

  /** Reads what begins at `at`; the byte behind it, or negative where it is wrong. */
  #next(byte: number, at: number, until: number): number {
    switch (this.#wants) {
      case wants.after:
        return byte === comma ? this.#comma(at) : this.#close(byte, at, true)
      case wants.value:
        return this.#value(byte, at, until)
      case wants.firstItem:
        return byte === closeBracket ? this.#close(byte, at, false) : this.#value(byte, at, until)
      case wants.firstName:
        return byte === closeBrace ? this.#close(byte, at, false) : this.#beginName(byte, at, until)
      case wants.name:
        return this.#beginName(byte, at, until)
      case wants.colon:
        if (byte !== colon) return -1
        this.#wants = wants.value
        return at + 1
      case wants.inName:
        return this.#name(at, until)
      case wants.inText:
        return this.#text(at, until)
      default:
        return this.#number(at, until)
    }
  }

  #comma(at: number): number {
    if (this.#depth === 0) return -1
    const open = this.#open
    if ((open & 1) === 0) this.#wants = wants.name
    else {
      this.#wants = wants.value
      if (open > 1) this.#field = this.#itemField(open)
    }
    return at + 1
  }

  #itemField(open: number): number {
    const place = (open >> 1) & 127
    return place === 0 ? 0 : this.#listener.item(place)
  }

  #value(byte: number, at: number, until: number): number {
    switch (byte) {
      case quote:
        this.#from = at
        this.#wants = wants.inText
        return this.#text(at + 1, until)
      case openBrace:
        return this.#enter(at, false)
      case openBracket:
        return this.#enter(at, true)
      default: {
        const word = wordOf(byte)
        return word === undefined ? this.#beginNumber(byte, at, until) : this.#word(word, at)
      }
    }
  }

  #enter(at: number, isList: boolean): number {
    if (this.#depth === maxDepth) {
      this.#isTooDeep = true
      return -1
    }
    const field = this.#field
    this.#outer[this.#depth] = this.#open
    if (field !== 0) this.#starts[this.#depth] = at
    this.#depth++
    this.#open = opened(field, field === 0 ? 0 : this.#listener.enter(field, isList), isList)
    this.#field = isList ? this.#itemField(this.#open) : 0
    this.#wants = isList ? wants.firstItem : wants.firstName
    return at + 1
  }

  #close(byte: number, at: number, isFilled: boolean): number {
    const open = this.#open
    if (this.#depth === 0 || byte !== ((open & 1) === 1 ? closeBracket : closeBrace)) return -1
    this.#depth--
    this.#open = this.#outer[this.#depth] ?? 0
    this.#wants = wants.after
    if (open > 255) this.#listener.leave(open >> 8, this.#starts[this.#depth] ?? 0, at + 1, isFilled)
    return at + 1
  }

  #beginName(byte: number, at: number, until: number): number {
    if (byte !== quote) return -1
    this.#from = at
    this.#textEnds.isEscaped = false
    this.#wants = wants.inName
    return this.#name(at + 1, until)
  }

  #name(from: number, until: number): number {
    const at = this.#textEnds.find(from, until)
    if (at < 0) return this.#wrongAt(-1 - at)
    if (at >= until) return at
    const place = (this.#open >> 1) & 127
    this.#field = place === 0 ? 0 : this.#listener.name(place, this.#from, at + 1, this.#textEnds.isEscaped)
    this.#wants = wants.colon
    return at + 1
  }

  #text(from: number, until: number): number {
    const at = this.#textEnds.find(from, until)
    if (at < 0) return this.#wrongAt(-1 - at)
    if (at >= until) return at
    return this.#scalar(at + 1)
  }

  #scalar(end: number): number {
    this.#wants = wants.after
    if (this.#field !== 0) this.#listener.scalar(this.#field, this.#from, end)
    return end
  }

  #word(word: string, at: number): number {
    const bytes = this.#bytes
    for (let i = 1; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return this.#wrongAt(at + i)
    this.#from = at
    return this.#scalar(at + word.length)
  }

  #beginNumber(byte: number, at: number, until: number): number {
    const first = byte === minus ? at + 1 : at
    if (!isDigit(this.#bytes[first])) return this.#wrongAt(first)
    this.#from = at
    this.#wants = wants.inDigits
    // No digit may follow a zero; what does is found wrong as what follows a value.
    return this.#bytes[first] === zero ? this.#fraction(first + 1, until) : this.#number(first + 1, until)
  }

  #number(from: number, until: number): number {
    const bytes = this.#bytes
    let at = from
    while (at < until && isDigit(bytes[at])) at++
    if (at >= until) return at
    return this.#wants === wants.inDigits ? this.#fraction(at, until) : this.#exponent(at, until)
  }

  #fraction(at: number, until: number): number {
    if (this.#bytes[at] !== point) return this.#exponent(at, until)
    if (!isDigit(this.#bytes[at + 1])) return this.#wrongAt(at + 1)
    this.#wants = wants.inFraction
    return this.#number(at + 2, until)
  }

  #exponent(at: number, until: number): number {
    const bytes = this.#bytes
    const byte = bytes[at]
    if ((byte !== 0x65 && byte !== 0x45) || this.#wants === wants.inExponent) return this.#scalar(at)
    const sign = bytes[at + 1]
    const first = sign === plus || sign === minus ? at + 2 : at + 1
    if (!isDigit(bytes[first])) return this.#wrongAt(first)
    this.#wants = wants.inExponent
    return this.#number(first + 1, until)
  }

  #wrongAt(at: number): -1 {
    this.#stop(at)
    return -1
  }
}
