/**
 * Where a multipart upload names its model. It is read as it comes, in any pieces, and nothing of it is kept but the
 * part that is looked for: the files beside it may be of any size.
 */
import { isUtf8 } from "node:buffer"
import { Result } from "effect"

/** What the part says, and the bytes of the upload in which it says so: from the first to the one behind the last. */
export interface ModelPart {
  readonly model: string
  readonly start: number
  readonly end: number
}

/** Why an upload is not taken, in words for its client. */
export class BadMultipart {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** Bytes of a part's headers; no client sends as many. */
const maxPartHeadBytes = 16_384

/** Bytes of a model's name; no model has a longer one. */
const maxNameBytes = 1024

const lineBreak = Buffer.from("\r\n")
const emptyLine = Buffer.from("\r\n\r\n")
const dash = 0x2d

/** `undefined` where a content type is no multipart form, or does not say how its parts are told apart. */
export const boundaryOf = (contentType: string): string | undefined => {
  if (!/^multipart\/form-data\s*(?:;|$)/i.test(contentType)) return undefined
  const [, quoted, bare] = /;\s*boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))/i.exec(contentType) ?? []
  return quoted ?? bare
}

type Phase = "delimiter" | "head" | "name" | "end"

/** Mutable by nature: one for each upload. */
export class MultipartModel {
  readonly #delimiter: Buffer
  #phase: Phase = "delimiter"
  /** What was not read yet; the first delimiter may lack the line break that all others begin with. */
  #rest: Buffer = lineBreak
  /** The place of its first byte in the upload. */
  #at = -lineBreak.length
  #found: ModelPart | undefined
  #problem: BadMultipart | undefined

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, "latin1")
  }

  get found(): ModelPart | undefined {
    return this.#found
  }

  /** Once there is one, nothing more is read. */
  get problem(): BadMultipart | undefined {
    return this.#problem
  }

  push(piece: Uint8Array): void {
    if (this.#phase === "end" || this.#problem !== undefined) return
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (this.#step()) {
      // Each step takes something off what waits.
    }
    // What waits is a part of a larger piece, which must not be kept for its sake.
    if (this.#rest.buffer === piece.buffer) this.#rest = Buffer.from(this.#rest)
  }

  /** Whether more can be read of what is there. */
  #step(): boolean {
    switch (this.#phase) {
      case "delimiter":
        return this.#skipToDelimiter()
      case "head":
        return this.#readHead()
      case "name":
        return this.#readName()
      case "end":
        return false
    }
  }

  #skipToDelimiter(): boolean {
    const at = this.#rest.indexOf(this.#delimiter)
    if (at < 0) {
      this.#take(Math.max(0, this.#rest.length - this.#delimiter.length + 1))
      return false
    }
    this.#take(at + this.#delimiter.length)
    this.#phase = "head"
    return true
  }

  #readHead(): boolean {
    if (this.#rest[0] === dash && this.#rest[1] === dash) {
      this.#phase = "end"
      return false
    }
    const end = this.#rest.indexOf(emptyLine)
    if (end < 0) {
      if (this.#rest.length > maxPartHeadBytes) this.#fail("The head of one of the upload's parts is too long.")
      return false
    }
    const head = this.#rest.toString("utf8", 0, end)
    // The line break in front of an empty part's delimiter may be the one that ends its head.
    this.#take(end + lineBreak.length)
    const named = nameOf(head)
    if (Result.isFailure(named)) {
      this.#problem = named.failure
      return false
    }
    const name = named.success
    if (name === "model") this.#take(lineBreak.length)
    this.#phase = name === "model" ? "name" : "delimiter"
    return true
  }

  #readName(): boolean {
    const end = this.#rest.indexOf(this.#delimiter)
    if (end < 0) {
      if (this.#rest.length > maxNameBytes + this.#delimiter.length)
        this.#fail("The upload's model has too long a name.")
      return false
    }
    const name = this.#rest.subarray(0, end)
    if (this.#found !== undefined) this.#fail("The upload names its model more than once.")
    else if (end > maxNameBytes) this.#fail("The upload's model has too long a name.")
    else if (!isUtf8(name)) this.#fail("The upload's model is not valid UTF-8.")
    else this.#found = { model: name.toString("utf8"), start: this.#at, end: this.#at + end }
    this.#phase = "delimiter"
    return this.#problem === undefined
  }

  #take(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes)
    this.#at += bytes
  }

  #fail(message: string): void {
    this.#problem = new BadMultipart(message)
  }
}

const disposition = /^content-disposition[ \t]*:(.*(?:\r\n[ \t].*)*)$/gim
const nameParameter = /;\s*name(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/gi

/** The field that a part is for. What servers could read in different ways is refused: one of them checks a key's models. */
const nameOf = (head: string): Result.Result<string | undefined, BadMultipart> => {
  const dispositions = [...head.matchAll(disposition)]
  const names = dispositions.flatMap(([, value = ""]) => [...value.matchAll(nameParameter)])
  if (dispositions.length > 1 || names.length > 1 || names.some(([, extended]) => extended === "*")) {
    return Result.fail(new BadMultipart("One of the upload's parts does not say clearly what field it is for."))
  }
  const [name] = names
  return Result.succeed(name === undefined ? undefined : (name[2]?.replace(/\\(.)/g, "$1") ?? name[3]))
}
