/** How to talk to each kind of engine: what goes out, what comes back, how to ask it how it is. */
import { Clock, Context, Effect, Layer } from "effect"
import { memoize } from "effect/Function"
import type { AdapterKind, Backend } from "../domain/Backend.ts"
import type { ClientSettings } from "../domain/Pool.ts"
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"
import type { Member } from "../registry/Registry.ts"
import { isAtHand, type UpstreamRequest } from "../transport/UpstreamTransport.ts"
import type { Adapter, AdapterOf, Classification } from "./Adapter.ts"
import { anthropic } from "./adapters/Anthropic.ts"
import { azureOpenAi } from "./adapters/AzureOpenAi.ts"
import { huaweiApig } from "./adapters/HuaweiApig.ts"
import { llamaBalancer } from "./adapters/LlamaBalancer.ts"
import { llamaCpp } from "./adapters/LlamaCpp.ts"
import { ollama } from "./adapters/Ollama.ts"
import { openAi } from "./adapters/OpenAi.ts"
import { sglang } from "./adapters/Sglang.ts"
import { vllm } from "./adapters/Vllm.ts"
import { hashInSlices, isLongToHash } from "./BodyHash.ts"
import { type Outgoing, outgoingHeaders, type PreparedRequest, prepare, target } from "./Outgoing.ts"
import { mayTellAddress, OwnAddress } from "./OwnAddress.ts"

export type { Adapter, Classification, ProbeAnswer } from "./Adapter.ts"
export type { Outgoing } from "./Outgoing.ts"
export { restFor } from "./RetryAfter.ts"

/** One file each. */
const adapters: Record<AdapterKind, Adapter | AdapterOf> = {
  openai: openAi,
  vllm,
  sglang,
  "llama-cpp": llamaCpp,
  ollama,
  "llama-balancer": llamaBalancer,
  "huawei-apig": huaweiApig,
  "azure-openai": azureOpenAi,
  anthropic
}

const adapterFor = (backend: Backend): Adapter => {
  const known = adapters[backend.adapter]
  return typeof known === "function" ? known(backend) : known
}

/** What a probe asks a backend for. */
export type ProbeKind = "health" | "models" | "load"

export class BackendAdapter extends Context.Service<
  BackendAdapter,
  {
    readonly of: (backend: Backend) => Adapter
    /** A client's request as it goes to a member of a pool; signed anew each time it is called. */
    readonly prepare: (member: Member, client: ClientSettings, outgoing: Outgoing, bodyHash?: string) => UpstreamRequest
    /** The hash that `prepare` needs of a long body, where this kind of backend signs it; made in slices. */
    readonly bodyHash: (member: Member, outgoing: Outgoing) => Effect.Effect<string> | undefined
    /** What a client's path becomes at a backend; `undefined`: the same, or the same below `/v1`. */
    readonly otherPath: (backend: Backend, path: string) => string | undefined
    /** The request of a probe, with the backend's own credentials; `undefined`: this kind is not asked for that. */
    readonly probe: (backend: Backend, kind: ProbeKind) => Outgoing | undefined
    /** The backend as such a probe reaches it: another one where it is watched at a port of its own. */
    readonly probeTarget: (backend: Backend, kind: ProbeKind) => Backend
    readonly classify: (backend: Backend, status: number) => Classification
    /** An answer's headers without what tells where the backend is; `asked`: the client's path, as it sent it. */
    readonly conceal: (backend: Backend, headers: UpstreamHeaders, asked: string) => UpstreamHeaders
    /** Whether a text names the backend's address. */
    readonly isNamedIn: (backend: Backend, text: string) => boolean
  }
>()("weir/backend/BackendAdapter") {
  static readonly layer = Layer.effect(
    BackendAdapter,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const preparedFor = memoize((backend: Backend): PreparedRequest => prepare(backend, adapterFor(backend)))
      // The same object each time, since what is known of a backend is kept by it.
      const probeTarget = memoize(
        (backend: Backend): Backend =>
          backend.health.port === undefined ? backend : { ...backend, url: withPort(backend.url, backend.health.port) }
      )
      const adapterOf = (backend: Backend): Adapter => preparedFor(backend).adapter

      const addressOf = memoize((backend: Backend) => new OwnAddress(backend, preparedFor(backend)))

      return BackendAdapter.of({
        of: adapterOf,
        prepare: (member, client, outgoing, bodyHash) => {
          const backend = member.backend.config
          const ready = preparedFor(backend)
          const path = target(ready, outgoing.path, outgoing.query)
          return {
            backend,
            client,
            connectTimeout: member.timeouts.connect,
            method: outgoing.method,
            path,
            headers: outgoingHeaders(backend, ready, outgoing, path, clock.currentTimeMillisUnsafe(), bodyHash),
            body: outgoing.body,
            readable: outgoing.readable,
            upgrade: outgoing.upgrade
          }
        },
        bodyHash: ({ backend: { config } }, { body }) =>
          config.auth.type === "apig" && body !== undefined && isAtHand(body) && isLongToHash(body)
            ? hashInSlices(body)
            : undefined,
        otherPath: (backend, path) => {
          const ready = preparedFor(backend)
          return isPlain(ready) ? undefined : target(ready, path, "")
        },
        probe: (backend, kind) => {
          const asked = probePath(adapterOf(backend), backend, kind)
          if (asked === undefined) return undefined
          const [path = "", query] = asked.split("?", 2)
          return { ...emptyGet, path, query: query === undefined ? "" : `?${query}` }
        },
        probeTarget: (backend, kind) => (kind === "models" ? backend : probeTarget(backend)),
        classify: (backend, status) => adapterOf(backend).classify(status),
        conceal: (backend, headers, asked) =>
          mayTellAddress(headers) ? addressOf(backend).conceal(headers, asked) : headers,
        isNamedIn: (backend, text) => addressOf(backend).isNamedIn(text)
      })
    })
  )
}

const isPlain = ({ apiPath, rootPath }: PreparedRequest): boolean =>
  (apiPath === "" || apiPath === "/v1") && rootPath === ""

const withPort = (address: string, port: number): string => {
  const url = new URL(address)
  url.port = String(port)
  return url.href
}

const emptyGet: Outgoing = {
  method: "GET",
  path: "/",
  query: "",
  headers: ["accept", "*/*"],
  body: undefined,
  readable: true
}

const probePath = (adapter: Adapter, backend: Backend, kind: ProbeKind): string | undefined => {
  switch (kind) {
    case "health":
      return backend.health.path ?? adapter.healthPath
    case "models":
      return adapter.modelsPath
    case "load":
      return adapter.loadPath
  }
}
