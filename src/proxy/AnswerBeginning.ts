import { asBuffer, type Chunks, joined } from "../domain/Bytes.ts"
import { endsWithConnection, isJson, isLabelled } from "../protocol/AnswerForm.ts"
import { JsonBalance } from "../protocol/JsonBalance.ts"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { Attempt } from "./Attempt.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

/** What has come so far of an answer, and what is kept of it. Mutable by nature: written by the fiber that reads. */
export class AnswerBeginning {
  readonly plan: RequestPlan
  readonly attempt: Attempt
  readonly response: UpstreamResponse
  readonly held: Array<Uint8Array> = []
  size = 0
  /** Pieces that were searched for the end of the first line. */
  #searched = 0
  #hasLine = false

  constructor(plan: RequestPlan, attempt: Attempt, response: UpstreamResponse) {
    this.plan = plan
    this.attempt = attempt
    this.response = response
  }

  take(pieces: Chunks): void {
    for (const piece of pieces) {
      // What woke the reader is no piece.
      if (piece.length === 0) continue
      this.held.push(piece)
      this.size += piece.length
    }
  }

  /** All of it, as text. */
  get text(): string {
    return this.bytes.toString("utf8")
  }

  get bytes(): Buffer {
    return asBuffer(joined(this.held))
  }

  /** The first line, once: when its end has come. */
  firstLine(): string | undefined {
    for (; !this.#hasLine && this.#searched < this.held.length; this.#searched++) {
      this.#hasLine = this.held[this.#searched]?.includes(lineFeed) ?? false
      if (!this.#hasLine) continue
      const { bytes } = this
      return bytes.toString("utf8", 0, bytes.indexOf(lineFeed))
    }
    return undefined
  }

  /** Whether it is a document of JSON whose end only the connection tells: then a cut looks like an end. */
  get isUncertain(): boolean {
    const { held, response } = this
    if (response.status >= 300 || !endsWithConnection(response) || !isJson(response)) return false
    return isLabelled(response) || opensDocument.test(Buffer.from(held[0] ?? []).toString("latin1", 0, 64))
  }

  answer(complete: boolean, streams: boolean, detector?: StreamEndDetector): UpstreamAnswer {
    const { attempt, held, response } = this
    const balance = !complete && detector === undefined && this.isUncertain ? new JsonBalance() : undefined
    if (balance !== undefined) for (const piece of held) balance.push(piece)
    return { attempt, response, held, complete, streams, detector, balance }
  }
}

const lineFeed = 0x0a

const opensDocument = /^\s*[{[]/
