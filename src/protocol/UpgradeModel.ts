/** The model that an upgrade names in its target: it has no body that could name one. */

import { Result } from "effect"
import { InvalidRequest } from "../domain/Errors.ts"
import { deploymentIn, withDeployment } from "./Endpoint.ts"

interface Target {
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
}

/** OpenAI's name for it, and Azure's. */
const names = new Set(["model", "deployment"])

/** `undefined` where none is named. Engines do not agree on which of two counts, so two are one too many. */
export const modelOfUpgrade = ({ path, query }: Target): Result.Result<string | undefined, InvalidRequest> => {
  const inQuery = [...new URLSearchParams(query)].flatMap(([name, value]) => (names.has(name) ? [value] : []))
  const named = [deploymentIn(path) ?? [], inQuery].flat()
  return named.length > 1
    ? Result.fail(new InvalidRequest({ message: "The request names its model more than once.", param: "model" }))
    : Result.succeed(named[0] || undefined)
}

/** The same target with another model; every byte but the name is as it was. */
export const withUpgradeModel = ({ path, query }: Target, model: string): Target => {
  if (deploymentIn(path) !== undefined) return { path: withDeployment(path, model), query }
  const pairs = query.replace(/^\?/, "").split("&")
  return { path, query: `?${pairs.map((pair) => renamed(pair, model)).join("&")}` }
}

const renamed = (pair: string, model: string): string => {
  const [name = ""] = new URLSearchParams(pair).keys()
  return names.has(name) ? `${name}=${encodeURIComponent(model)}` : pair
}
