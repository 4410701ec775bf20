/**
 * What sessions and tools ask of a conversation, gathered while it is passed by: what the system says, and whether tools
 * were called. Of a name that comes twice the last one counts, as it does for `JSON.parse`.
 */
import { fields, members, places } from "./BodyNames.ts"
import { says } from "./JsonText.ts"
import { KeptContents, type Parts, PartsDraft, textOf } from "./SaidTexts.ts"

const { input, instructions, messages, system } = members
const { content, functionCall, item, itemType, message, part, partText, partType, role, toolCalls } = fields

const quote = 0x22
const openBracket = 0x5b
const openBrace = 0x7b

const systemRoles = ["system", "developer"]
const toolRoles = ["tool", "function"]
/** Anthropic's dialect has tools among the parts of the content. */
const toolParts = ["tool_use", "tool_result"]
/** The responses API has calls and their outputs as items of the input. */
const toolItems = ["function_call", "function_call_output"]

export class Conversation {
  readonly #bytes: Buffer
  #messagesUseTools = false
  #itemsUseTools = false
  #system: Parts | undefined
  #instructions: Parts | undefined
  #said: KeptContents | undefined
  /** The texts of the content that is being read. */
  readonly #draft = new PartsDraft()
  /** Of the message that is being read. */
  #isSystem = false
  #isTool = false
  #callsTools = false
  #callsFunction = false
  #hasToolPart = false
  /** Of the part, or the item, that is being read. */
  #textStart = -1
  #textEnd = -1
  #isToolPart = false
  #isToolItem = false

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Whether tools were called in it, or have answered. */
  get usesTools(): boolean {
    return this.#messagesUseTools || this.#itemsUseTools
  }

  /** What the system says, in every dialect, a text for each message; of much only the beginning. */
  systemTexts(): ReadonlyArray<string> {
    const own = [this.#system, this.#instructions].flatMap((parts) => (parts === undefined ? [] : [parts]))
    return [...own, ...(this.#said?.all ?? [])].map((parts) => textOf(this.#bytes, parts))
  }

  /** An object or list begins; the place to enter it as. */
  enter(field: number, isList: boolean): number {
    switch (field) {
      case messages:
        this.#forgetMessages()
        return isList ? places.messages : 0
      case input:
        this.#itemsUseTools = false
        return isList ? places.items : 0
      case message:
        if (isList) return 0
        this.#beginMessage()
        return places.message
      case content:
        this.#hasToolPart = false
        this.#draft.clear()
        return isList ? places.content : 0
      case system:
      case instructions:
        this.#draft.clear()
        return isList ? places.content : 0
      case part:
        if (isList) return 0
        this.#textStart = -1
        this.#isToolPart = false
        return places.part
      case item:
        if (isList) return 0
        this.#isToolItem = false
        return places.item
      default:
        return 0
    }
  }

  /** An object or list has ended. */
  leave(field: number, start: number, isFilled: boolean): void {
    switch (field) {
      case message:
        if (this.#bytes[start] === openBrace) this.#endMessage()
        break
      case part:
        if (this.#isToolPart) this.#hasToolPart = true
        if (this.#textStart >= 0) this.#draft.add(this.#textStart, this.#textEnd)
        this.#textStart = -1
        this.#isToolPart = false
        break
      case item:
        if (this.#isToolItem) this.#itemsUseTools = true
        this.#isToolItem = false
        break
      case system:
        this.#system = this.#draft.parts
        break
      case instructions:
        this.#instructions = this.#draft.parts
        break
      case toolCalls:
        this.#callsTools = isFilled && this.#bytes[start] === openBracket
        break
      case functionCall:
        this.#callsFunction = this.#bytes[start] === openBrace
        break
      case role:
        this.#isSystem = false
        this.#isTool = false
        break
      case partText:
        this.#textStart = -1
        break
      case partType:
        this.#isToolPart = false
        break
      case itemType:
        this.#isToolItem = false
        break
    }
  }

  /** A text, number or word. */
  scalar(field: number, start: number, end: number): void {
    switch (field) {
      case role:
        this.#isSystem = this.#saysOneOf(start, end, systemRoles)
        this.#isTool = this.#saysOneOf(start, end, toolRoles)
        break
      case content:
        this.#hasToolPart = false
        this.#draft.clear()
        if (this.#isText(start)) this.#draft.add(start, end)
        break
      case system:
        this.#system = this.#isText(start) ? [start, end] : undefined
        break
      case instructions:
        this.#instructions = this.#isText(start) ? [start, end] : undefined
        break
      case partText:
        this.#textStart = this.#isText(start) ? start : -1
        this.#textEnd = end
        break
      case partType:
        this.#isToolPart = this.#saysOneOf(start, end, toolParts)
        break
      case itemType:
        this.#isToolItem = this.#saysOneOf(start, end, toolItems)
        break
      case toolCalls:
        this.#callsTools = false
        break
      case functionCall:
        this.#callsFunction = false
        break
      case messages:
        this.#forgetMessages()
        break
      case input:
        this.#itemsUseTools = false
        break
    }
  }

  #forgetMessages(): void {
    this.#messagesUseTools = false
    this.#said = undefined
  }

  #beginMessage(): void {
    this.#isSystem = false
    this.#isTool = false
    this.#callsTools = false
    this.#callsFunction = false
    this.#hasToolPart = false
    this.#draft.clear()
  }

  #endMessage(): void {
    if (this.#isTool || this.#callsTools || this.#callsFunction || this.#hasToolPart) this.#messagesUseTools = true
    if (!this.#isSystem || this.#said?.isFull === true) return
    const { parts } = this.#draft
    if (parts === undefined) return
    this.#said ??= new KeptContents()
    this.#said.push(parts)
  }

  #isText(start: number): boolean {
    return this.#bytes[start] === quote
  }

  #saysOneOf(start: number, end: number, words: ReadonlyArray<string>): boolean {
    for (const word of words) if (says(this.#bytes, start, end, word)) return true
    return false
  }
}
