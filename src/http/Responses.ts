/** Building responses from plain parts. */
import { HttpServerResponse } from "effect/http"
import type { GatewayError } from "../domain/Errors.ts"
import { errorResponse } from "./ErrorBody.ts"

export const json = (value: unknown, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(value, { status })

export const text = (body: string, contentType: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(body, { contentType })

/** The gateway's own error, in the dialect of the path. */
export const failure = (error: GatewayError, path: string): HttpServerResponse.HttpServerResponse => {
  const { body, headers, status } = errorResponse(error, path)
  return HttpServerResponse.text(body, { status, headers, contentType: "application/json" })
}
