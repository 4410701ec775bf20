/** Which paths of a listener reach an engine, besides the endpoints of inference. */
import { memoize } from "effect/Function"
import type { BackendAdapter } from "../backend/BackendAdapter.ts"
import { administers } from "../domain/Administration.ts"
import { PathNotAllowed } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import type { Member } from "../registry/Registry.ts"
import { type PathRouter, pathRouterOf } from "../routing/Router.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"

/** Why a listener does not pass a path through that is no endpoint, over HTTP or WebSocket; `undefined` where it does. */
export const refusePath = (listener: Listener, method: string, path: string): PathNotAllowed | undefined => {
  const { passThrough } = listener
  if (passThrough === "all") return undefined
  if (passThrough === "none") return noneRefusal()
  return administers(method, path) && !isNamed(listener, path) ? safeRefusal() : undefined
}

/** The same for what the path becomes at the backends that may be asked: an address can have a path of its own. */
export const refuseTargets = (
  adapters: BackendAdapter["Service"],
  { listener, method, path }: Pick<ProxyRequest, "listener" | "method" | "path">,
  candidates: ReadonlyArray<Member>
): PathNotAllowed | undefined => {
  if (listener.passThrough === "all" || listener.passThrough === "none") return undefined
  const reaches = ({ backend }: Member): boolean => {
    const other = adapters.otherPath(backend.config, path)
    return other !== undefined && administers(method, other)
  }
  return candidates.some(reaches) && !isNamed(listener, path) ? safeRefusal() : undefined
}

/** Patterns name paths as they are written: no other spelling is meant. */
const isNamed = (listener: Listener, path: string): boolean => namesOf(listener).find(path) === true

const namesOf = memoize(({ passThrough }: Listener): PathRouter<true> => {
  const patterns = typeof passThrough === "string" ? [] : passThrough
  return pathRouterOf(patterns.map((each) => [each, true]))
})

const safeRefusal = () =>
  new PathNotAllowed({
    message: "This path administers an engine; the listener's setting passThrough does not let it through."
  })

const noneRefusal = () =>
  new PathNotAllowed({
    message: "This path is no endpoint of inference; the listener's setting passThrough lets no other through."
  })
