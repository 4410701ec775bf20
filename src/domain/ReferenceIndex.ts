/**
 * The names in a configuration, and where they are used. The same for what is read from a file (`config/RawReferences.ts`)
 * and for a decoded configuration that was edited: so both are held against one set of rules.
 */
import { type ApiKey, digestOfKey } from "./ApiKey.ts"
import type { GatewayConfig } from "./GatewayConfig.ts"
import type { Listener } from "./Listener.ts"
import type { PoolMember } from "./Pool.ts"

/** What cannot be read is `undefined`: decoding says so. */
type MaybeName = string | undefined

export interface ReferenceIndex {
  readonly backends: ReadonlyArray<MaybeName>
  readonly pools: ReadonlyArray<{ readonly name: MaybeName; readonly members: ReadonlyArray<MaybeName> | undefined }>
  readonly listeners: ReadonlyArray<{
    readonly name: string
    /** `undefined` where any free port will do. */
    readonly address: string | undefined
    readonly pool: MaybeName
    readonly passThrough: ReadonlyArray<MaybeName>
    readonly routes: ReadonlyArray<{ readonly path: MaybeName; readonly pool: MaybeName }>
  }>
  readonly models: ReadonlyArray<{
    readonly match: MaybeName
    readonly pool: MaybeName
    readonly backends: ReadonlyArray<MaybeName>
  }>
  readonly fallbackBackend: MaybeName
  readonly keys: ReadonlyArray<{
    readonly name: MaybeName
    /** Equal for two keys that the same secret opens. */
    readonly digest: string | undefined
    readonly pools: ReadonlyArray<MaybeName>
  }>
}

export const indexOfConfig = (config: GatewayConfig): ReferenceIndex => ({
  backends: config.backends.map(({ name }) => name),
  pools: config.pools.map(({ backends, name }) => ({ name, members: backends.map(nameOfMember) })),
  listeners: config.listeners.map(ofListener),
  models: config.models.map(({ backends, match, pool }) => ({ match, pool, backends: backends ?? [] })),
  fallbackBackend: config.fallbackBackend,
  keys: config.keys.map(ofKey)
})

const nameOfMember = (member: PoolMember): string => (typeof member === "string" ? member : member.name)

const ofListener = ({ host, name, passThrough, pool, port, routes }: Listener) => ({
  name,
  address: addressOf(host, port),
  pool,
  passThrough: typeof passThrough === "string" ? [] : passThrough,
  routes
})

const ofKey = (key: ApiKey) => ({ name: key.name, digest: digestOfKey(key), pools: key.pools })

export const addressOf = (host: string, port: number): string | undefined =>
  port === 0 ? undefined : `${host}:${port}`
