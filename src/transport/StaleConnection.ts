/**
 * Whether a connection that broke had served before. An engine closes what was idle for long enough, at times in the very
 * moment in which the next request is on its way: that is what kept connections cost, and says nothing of the engine.
 */

import { UpstreamFailed } from "./UpstreamTransport.ts"

const bytesBefore = Symbol("bytes that the connection had brought")

/** To be called with the error that ends a connection, before anything else sees it. */
export const noteUse = (error: Error, bytesRead: number): void => {
  Object.defineProperty(error, bytesBefore, { value: bytesRead, configurable: true })
}

/** Of an error noted before, or of undici's own for a connection that was closed in order. */
export const hadServed = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false
  if (bytesBefore in error) return isPositive(error[bytesBefore])
  if (!("socket" in error) || typeof error.socket !== "object" || error.socket === null) return false
  return "bytesRead" in error.socket && isPositive(error.socket.bytesRead)
}

const isPositive = (count: unknown): boolean => typeof count === "number" && count > 0

/** The engine has said so, ahead of the request: that is sent again on another connection, and nothing is thought of it. */
export const givenUpBefore = new UpstreamFailed({ kind: "stale", detail: "the connection had been idle for too long" })

/** `408 Request Timeout`, `408 Request Time-out`, and the same with other codes for a client's fault. */
export const saysThatItIsOver = (status: number, reason: string): boolean =>
  status === 408 || (status >= 400 && status < 500 && /time-?\s?out/i.test(reason))
