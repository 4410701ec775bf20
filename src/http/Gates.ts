/** What every request passes before anything is done for it, in this order: head, browser, address limit, key. */
import { Effect, Result } from "effect"
import type { ApiKey } from "../domain/ApiKey.ts"
import type { GatewayError } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import type { Snapshot } from "../registry/Registry.ts"
import { RateLimiter } from "../resilience/RateLimiter.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import { asksForKey, authenticate, authenticateAdmin } from "./Authentication.ts"
import { isForeignApp, isPreflight, refuseBrowser } from "./BrowserGuard.ts"
import type { ClientAddress } from "./ClientAddress.ts"
import type { Incoming } from "./Incoming.ts"
import { refuseHead, refuseLargeHead } from "./RequestHead.ts"
import type { BuiltinRoute } from "./routes/BuiltinRoutes.ts"

/** A request with what holds for it. */
export interface Arrival {
  readonly incoming: Incoming
  readonly snapshot: Snapshot
  readonly listener: Listener
  /** The gateway's own answer to it; `undefined`: a backend's. */
  readonly own: BuiltinRoute | undefined
  /** Whether neither a key nor a token is asked for. */
  readonly open: boolean
}

export type GateOutcome = Result.Result<Preflight | Admitted, GatewayError>

/** A browser asks what a page may ask: answered without anything else. */
export interface Preflight {
  readonly _tag: "Preflight"
}

export interface Admitted {
  readonly _tag: "Admitted"
  /** Whose request it is, where a key was asked for. */
  readonly key: ApiKey | undefined
  readonly address: string
}

export const arrivalOf = (
  incoming: Incoming,
  snapshot: Snapshot,
  listener: Listener,
  own: BuiltinRoute | undefined
): Arrival => {
  const open = own?.access === "admin" ? snapshot.config.admin.token === undefined : !asksForKey(snapshot, listener)
  return { incoming, snapshot, listener, own, open }
}

export const makeGates = (clientAddress: ClientAddress) =>
  Effect.gen(function* () {
    const limiter = yield* RateLimiter
    const metrics = yield* Metrics
    return ({ incoming, listener, open, own, snapshot }: Arrival): GateOutcome => {
      const refused =
        refuseLargeHead(incoming, snapshot.config.limits.maxHeaderBytes) ??
        refuseHead(incoming) ??
        refuseBrowser(incoming, listener, open)
      if (refused !== undefined) return Result.fail(refused)
      if (isPreflight(incoming)) return preflight
      const access = accessOf(incoming, listener, own)
      const address = clientAddress.of(incoming, listener)
      if (access === "public") return Result.succeed(admit(undefined, address))
      const limited = limiter.takeAddress(listener, address)
      if (limited !== undefined) {
        metrics.rateLimited({ listener: listener.name, scope: "ip" })(1)
        return Result.fail(limited)
      }
      if (access === "admin") {
        return Result.map(authenticateAdmin(snapshot, incoming.header), () => admit(undefined, address))
      }
      if (open) return Result.succeed(admit(undefined, address))
      return Result.map(authenticate(snapshot, incoming.header), (key) => admit(key, address))
    }
  })

/** What is public is not so for an app whose origin is not listed: it shows its key with everything that it asks. */
const accessOf = (incoming: Incoming, listener: Listener, own: BuiltinRoute | undefined) => {
  const access = own?.access ?? "client"
  return access === "public" && isForeignApp(incoming, listener) ? "client" : access
}

const admit = (key: ApiKey | undefined, address: string): Admitted => ({ _tag: "Admitted", key, address })

const preflight: GateOutcome = Result.succeed({ _tag: "Preflight" })
