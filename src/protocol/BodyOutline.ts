/**
 * What routing needs of a request's body: where its members stand, and of its messages the little that sessions and tools
 * ask for. However long the body is, what is kept of it is small.
 */
import { fieldNamed, fields, type MemberName, members, places } from "./BodyNames.ts"
import { Conversation } from "./Conversation.ts"
import type { JsonListener } from "./JsonScanner.ts"
import { says, textAt } from "./JsonText.ts"

export type Kind = "absent" | "null" | "boolean" | "number" | "text" | "list" | "object"

/** Where a value begins and the byte behind it; `start` is -1 where there is none. */
export interface Span {
  readonly start: number
  readonly end: number
}

const { chat_template_kwargs: kwargs, metadata, model, name: otherName, prompt } = members
const { body, effort, item, message, part, prompt: promptItem, userId } = fields

/** Bytes of a number; what stands behind them is not looked at. */
const maxNumberBytes = 1024

const nowhere = [0, ...Object.values(members)].map(() => -1)

export class BodyOutline implements JsonListener {
  /** What was read. */
  readonly bytes: Buffer
  readonly #conversation: Conversation
  /** Where the value of each member stands, by its field; the last one counts, as it does for `JSON.parse`. */
  readonly #starts: Array<number> = nowhere.slice()
  readonly #ends: Array<number> = nowhere.slice()
  /** Of the members that are lists or objects, those with something in them: a bit each, by their field. */
  #filled = 0
  #isObject = false
  #isEmpty = true
  #repeatsModel = false
  #repeatsName = false
  #userIdStart = -1
  #userIdEnd = -1
  #hasEffort = false
  #prompts = 0
  #firstPrompt: Kind = "absent"

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.#conversation = new Conversation(bytes)
  }

  get isObject(): boolean {
    return this.#isObject
  }

  /** Whether it has no member at all. */
  get isEmpty(): boolean {
    return this.#isEmpty
  }

  /** Engines do not agree on which of two equal names counts. */
  repeats(name: "model" | "name"): boolean {
    return name === "model" ? this.#repeatsModel : this.#repeatsName
  }

  span(name: MemberName): Span {
    return { start: this.#start(name), end: this.#ends[members[name]] ?? -1 }
  }

  #start(name: MemberName): number {
    return this.#starts[members[name]] ?? -1
  }

  has(name: MemberName): boolean {
    return this.#start(name) >= 0
  }

  kind(name: MemberName): Kind {
    return kindAt(this.bytes, this.#start(name))
  }

  /** The text that a member is; of a longer one at least so many characters. */
  text(name: MemberName, most: number): string | undefined {
    const { end, start } = this.span(name)
    return kindAt(this.bytes, start) === "text" ? textAt(this.bytes, start, end, most) : undefined
  }

  /** Whether a member is this text of ASCII. */
  says(name: MemberName, word: string): boolean {
    const { end, start } = this.span(name)
    return start >= 0 && says(this.bytes, start, end, word)
  }

  number(name: MemberName): number | undefined {
    const { end, start } = this.span(name)
    return kindAt(this.bytes, start) === "number"
      ? Number.parseFloat(this.bytes.toString("latin1", start, Math.min(end, start + maxNumberBytes)))
      : undefined
  }

  isTrue(name: MemberName): boolean {
    return this.bytes[this.#start(name)] === 0x74
  }

  /** Whether a member is a list with something in it. */
  isFilledList(name: MemberName): boolean {
    return this.kind(name) === "list" && this.#isFilled(name)
  }

  /** Whether a member is an object with something in it. */
  isFilledObject(name: MemberName): boolean {
    return this.kind(name) === "object" && this.#isFilled(name)
  }

  /** `metadata.user_id`; of a longer one at least so many characters. */
  userId(most: number): string | undefined {
    const start = this.#userIdStart
    return kindAt(this.bytes, start) === "text" ? textAt(this.bytes, start, this.#userIdEnd, most) : undefined
  }

  /** Whether `chat_template_kwargs` has a `reasoning_effort`. */
  get hasEffort(): boolean {
    return this.#hasEffort
  }

  /** How many prompts there are: each has an answer of its own. A list of numbers is one prompt, as tokens. */
  get prompts(): number {
    return this.kind("prompt") === "list" && this.#firstPrompt !== "number" ? this.#prompts : 1
  }

  /** Whether tools were called in the conversation, or have answered. */
  get usesTools(): boolean {
    return this.#conversation.usesTools
  }

  /** What the system says, in every dialect, a text for each message; of much only the beginning. */
  systemTexts(): ReadonlyArray<string> {
    return this.#conversation.systemTexts()
  }

  name(place: number, start: number, end: number, isEscaped: boolean): number {
    const field = fieldNamed(this.bytes, place, start, end, isEscaped)
    if ((field === model || field === otherName) && place === places.body && (this.#starts[field] ?? -1) >= 0) {
      if (field === model) this.#repeatsModel = true
      else this.#repeatsName = true
    }
    return field
  }

  item(place: number): number {
    switch (place) {
      case places.messages:
        return message
      case places.content:
        return part
      case places.items:
        return item
      case places.prompts:
        return promptItem
      default:
        return 0
    }
  }

  enter(field: number, isList: boolean): number {
    switch (field) {
      case body:
        this.#isObject = !isList
        return isList ? 0 : places.body
      case prompt:
        this.#prompts = 0
        this.#firstPrompt = "absent"
        return isList ? places.prompts : 0
      case metadata:
        this.#userIdStart = -1
        return isList ? 0 : places.metadata
      case kwargs:
        this.#hasEffort = false
        return isList ? 0 : places.kwargs
      default:
        return this.#conversation.enter(field, isList)
    }
  }

  leave(field: number, start: number, end: number, isFilled: boolean): void {
    if (field < body) this.#filled = isFilled ? this.#filled | (1 << field) : this.#filled & ~(1 << field)
    else if (field === body) this.#isEmpty = !isFilled
    this.#value(field, start, end)
    this.#conversation.leave(field, start, isFilled)
  }

  scalar(field: number, start: number, end: number): void {
    this.#value(field, start, end)
    if (field === metadata) this.#userIdStart = -1
    if (field === kwargs) this.#hasEffort = false
    this.#conversation.scalar(field, start, end)
  }

  #isFilled(name: MemberName): boolean {
    return (this.#filled & (1 << members[name])) !== 0
  }

  #value(field: number, start: number, end: number): void {
    if (field < body) {
      this.#starts[field] = start
      this.#ends[field] = end
    } else if (field === promptItem) {
      this.#prompts++
      if (this.#prompts === 1) this.#firstPrompt = kindAt(this.bytes, start)
    } else if (field === userId) {
      this.#userIdStart = start
      this.#userIdEnd = end
    } else if (field === effort) this.#hasEffort = true
  }
}

const prompts = ["messages", "input", "prompt"] as const

/** Where that stands which the model is to answer to. */
export const promptSpan = (outline: BodyOutline): Span => {
  for (const name of prompts) if (outline.has(name) && outline.kind(name) !== "null") return outline.span(name)
  return { start: -1, end: -1 }
}

/** The body from there on. */
export const promptFrom = (outline: BodyOutline): Uint8Array =>
  outline.bytes.subarray(Math.max(0, promptSpan(outline).start))

/** What a valid value is that begins there. */
const kindAt = (bytes: Buffer, start: number): Kind => {
  if (start < 0) return "absent"
  switch (bytes[start]) {
    case 0x22:
      return "text"
    case 0x5b:
      return "list"
    case 0x7b:
      return "object"
    case 0x74:
    case 0x66:
      return "boolean"
    case 0x6e:
      return "null"
    default:
      return "number"
  }
}
