/**
 * The way that nearly every request takes: from the server's event to the last byte of its answer in callbacks, without a
 * fiber. What has to wait or goes wrong is handed over to Effect's server as it stands, and is an effect from there on.
 */
import { Effect, Exit, Result } from "effect"
import { HttpServerResponse } from "effect/http"
import { Bag } from "../domain/Bag.ts"
import type { GatewayError } from "../domain/Errors.ts"
import { once } from "../domain/Once.ts"
import type { BodyListener, Continuation, FastClient, ProxyResponse } from "../proxy/Proxy.ts"
import { type BegunRequest, headersOfAll, type Requests } from "./BegunRequest.ts"
import { type BodyError, hold, joined, joinedAtOnce, type Read } from "./BodyReading.ts"
import type { Admitted } from "./Gates.ts"
import { type Incoming, type NodeRequest, readIncoming } from "./Incoming.ts"
import { announcedTooLarge, boundsOf, packed, readBodyDirectly, takenAs } from "./RequestBody.ts"
import type { FindRoute } from "./routes/BuiltinRoutes.ts"
import type { Binding } from "./server/Bindings.ts"
import type { ListenerContext } from "./server/Listeners.ts"
import { breakOff, deliver, deliverDirectly, type OngoingAnswer } from "./server/ResponseWriter.ts"
import type { FastWay } from "./server/Server.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

type Answering = Effect.Effect<HttpServerResponse.HttpServerResponse, GatewayError>

/** A request that was begun here, and what is still to be done for it; `undefined`: all that follows its gates. */
export interface HandedOver {
  readonly begun: BegunRequest
  readonly rest: Answering | undefined
}

export interface FastPath extends FastWay {
  /** What an effect is to go on with; `undefined` for a request that was not begun here. */
  readonly handedOver: (message: NodeRequest["message"]) => HandedOver | undefined
}

export const makeFastPath = (
  requests: Requests,
  context: ListenerContext,
  find: (binding: Binding) => FindRoute
): FastPath => {
  const { connections, current } = context
  const handedOver = new WeakMap<NodeRequest["message"], HandedOver>()
  const pending = new Bag<PendingRequest>()

  const take: FastWay["take"] = ({ body, message, response, source, url }, handOver) => {
    if (message.method !== "POST" || !url.startsWith("/") || connections.closing || isUpgrade(message)) return false
    const tried = Result.try(() => {
      const seen = current()
      const { limits, server } = seen.snapshot.config
      if (!server.fastPath) return undefined
      const incoming = readIncoming(message, response, source, url, requests.clock.now())
      if (!isPlain(incoming, limits.maxBodyBytes)) return undefined
      if (find(seen.binding)(incoming.path, incoming.method) !== undefined) return undefined
      return requests.begin(incoming, seen, connections, find)
    })
    // A defect is met again by Effect's server, which tells it.
    if (Result.isFailure(tried) || tried.success === undefined) return false
    const begun = tried.success
    const { incoming } = begun.arrival
    const give = (rest: Answering | undefined) => {
      const { message, response } = source.node()
      incoming.message = message
      incoming.response = response
      handedOver.set(message, { begun, rest: rest && once(rest) })
      handOver(message, response)
    }
    const { gated } = begun
    if (Result.isFailure(gated) || gated.success._tag !== "Admitted") give(undefined)
    else new PendingRequest({ requests, context, pending, begun, admitted: gated.success, give }).begin(body)
    return true
  }

  return {
    take,
    tellDefect: requests.tellDefect,
    handedOver: (message) => {
      const found = handedOver.get(message)
      handedOver.delete(message)
      return found
    },
    handAllOver: Effect.sync(() => {
      const answering: Array<PendingRequest> = []
      pending.each((request) => {
        if (request.isAnswering) answering.push(request)
        else request.adopt()
      })
      return Effect.forEach(answering, ({ concluded }) => concluded, { concurrency: "unbounded", discard: true })
    })
  }
}

/** Whether it is of the kind that nearly all are, so that its body is read into memory by its announced length. */
const isPlain = (incoming: Incoming, maxBodyBytes: number): boolean =>
  incoming.endpoint !== undefined &&
  incoming.header("content-length") !== undefined &&
  incoming.header("transfer-encoding") === undefined &&
  incoming.header("expect") === undefined &&
  takenAs(incoming) === "whole" &&
  packed(incoming) === undefined &&
  announcedTooLarge(incoming, "maxBodyBytes", maxBodyBytes) === undefined

interface PendingParts {
  readonly requests: Requests
  readonly context: ListenerContext
  /** Those that have no fiber. */
  readonly pending: Bag<PendingRequest>
  readonly begun: BegunRequest
  readonly admitted: Admitted
  readonly give: (rest: Answering | undefined) => void
}

/** One request on this way. Mutable by nature: written by the callbacks of its sockets. */
class PendingRequest implements FastClient, BodyListener {
  readonly #parts: PendingParts
  place: number | undefined
  /** Gives up what is under way: the body's reading, then the proxy's work. */
  #stop: () => void = noop
  #release: () => void = noop
  #ongoing: OngoingAnswer | undefined
  /** It has its end, or a fiber. */
  #isOver = false
  /** Told what is still to be done, once a fiber waits for that because the gateway stops. */
  #adopted: ((rest: Answering) => void) | undefined

  constructor(parts: PendingParts) {
    this.#parts = parts
  }

  /** `body`: where it was read with the head. */
  begin(body: Uint8Array | undefined): void {
    this.#guarded(() => this.#begin(body))
  }

  #begin(body: Uint8Array | undefined): void {
    const { begun, requests, pending } = this.#parts
    const { arrival, payload } = begun
    const { incoming, listener, snapshot } = arrival
    pending.add(this)
    incoming.response.once("close", this.#onClose)
    const bounds = boundsOf(snapshot, listener)
    const onBody = (read: Result.Result<Read, BodyError>) => this.#guarded(() => this.#onBody(read))
    if (body === undefined) this.#stop = readBodyDirectly(incoming, bounds, requests, payload, onBody)
    else onBody(hold(payload, bounds, body))
  }

  /** Its answer has begun, so that it ends where it is. */
  get isAnswering(): boolean {
    return this.#parts.begun.arrival.incoming.response.headersSent
  }

  /** The gateway stops: what is still to be said is said, and everything is given back. */
  get concluded(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#ongoing?.letGo()
      const said = this.#ongoing?.conclude ?? Effect.void
      return Effect.ensuring(
        said,
        Effect.sync(() => this.#finish(interrupted))
      )
    })
  }

  /** The gateway stops, and nothing was answered: a fiber waits for it from now on, and whatever ends that ends the request. */
  adopt(): void {
    const waiting = Effect.callback<Answering>((resume) => {
      this.#adopted = (rest) => resume(Effect.succeed(rest))
      return Effect.sync(() => {
        this.#isOver = true
        this.#stop()
        this.#ongoing?.letGo()
      })
    })
    const { begun, give, pending } = this.#parts
    pending.delete(this)
    begun.arrival.incoming.response.off("close", this.#onClose)
    give(
      Effect.ensuring(
        Effect.flatten(waiting),
        Effect.sync(() => this.#release())
      )
    )
  }

  #onBody(read: Result.Result<Read, BodyError>): void {
    this.#stop = noop
    const { admitted, begun, requests } = this.#parts
    if (Result.isFailure(read)) return this.#handOver(Effect.fail(read.failure))
    const { pieces } = read.success
    const { size } = begun.payload
    const body = joinedAtOnce(pieces, size)
    if (body === undefined) {
      const rest = Effect.flatMap(joined(pieces, size), (whole) =>
        requests.proxy.handle(requests.proxyRequestOf(begun, admitted, whole), this.#send)
      )
      return this.#handOver(rest)
    }
    requests.proxy.begin(requests.proxyRequestOf(begun, admitted, body), this)
  }

  began(release: () => void): void {
    this.#release = release
  }

  answered(answer: ProxyResponse): void {
    const { begun, context } = this.#parts
    const { arrival } = begun
    Object.assign(answer.headers, headersOfAll(arrival, context.connections))
    this.#ongoing = deliverDirectly(arrival.incoming, answer, this)
  }

  continued(rest: Continuation): void {
    this.#handOver(rest(this.#send))
  }

  /** The answer was delivered, or broke off. */
  ended(): void {
    this.#finish(Exit.void)
  }

  died(defect: unknown): void {
    this.#giveUp()
    if (!this.isAnswering) return this.#handOver(Effect.die(defect))
    // Half an answer is out: only the connection can tell.
    this.#parts.requests.tellDefect(defect)
    breakOff(this.#parts.begun.arrival.incoming)
    this.#finish(Exit.die(defect))
  }

  readonly #send = (answer: ProxyResponse): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
    const { begun, context } = this.#parts
    Object.assign(answer.headers, headersOfAll(begun.arrival, context.connections))
    return deliver(begun.arrival.incoming, answer)
  }

  readonly #onClose = (): void => {
    if (this.#isOver || this.#parts.begun.arrival.incoming.response.writableEnded) return
    this.#giveUp()
    this.#finish(interrupted)
  }

  #giveUp(): void {
    this.#stop()
    this.#ongoing?.letGo()
    this.#release()
    this.#stop = noop
    this.#release = noop
  }

  #finish(exit: Exit.Exit<void>): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#release()
    const { begun, context, requests, pending } = this.#parts
    if (this.#adopted !== undefined) return this.#adopted(delivered)
    pending.delete(this)
    requests.ended(begun, context, exit)
  }

  #handOver(rest: Answering): void {
    if (this.#isOver) return
    this.#isOver = true
    const { begun, give, pending } = this.#parts
    if (this.#adopted !== undefined) return this.#adopted(rest)
    pending.delete(this)
    begun.arrival.incoming.response.off("close", this.#onClose)
    give(rest)
  }

  #guarded(run: () => void): void {
    try {
      run()
    } catch (defect) {
      this.died(defect)
    }
  }
}

const noop = () => {}

/** What Effect's server is told: it adds nothing to a response that has ended. */
const delivered = Effect.succeed(HttpServerResponse.empty())

const interrupted = Exit.interrupt()
