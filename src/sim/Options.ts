/** What a simulated server can be told when it starts. */
import { Duration, type Redacted } from "effect"
import type { EngineName } from "./EngineProfile.ts"

/** Everything has a default; times are those of a request that is alone on the machine. */
export interface SimulatorOptions {
  /** Which engine it passes for. Default `vllm`, which has everything else's paths too. */
  readonly engine?: EngineName | undefined
  /** Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Default 0: any free port. */
  readonly port?: number | undefined
  /** How the server calls itself in `/sim/stats` and in answers' `system_fingerprint`. Default `sim`. */
  readonly name?: string | undefined
  /** The models that it serves; the first labels its metrics. Default `sim-model`. */
  readonly models?: ReadonlyArray<string> | undefined
  /** Time to the first token of an uncached short prompt. Default 50 ms. */
  readonly ttft?: Duration.Duration | undefined
  /** Time between two tokens at batch size 1. Default 10 ms. */
  readonly itl?: Duration.Duration | undefined
  /** Tokens of a completion where the request does not ask for fewer. Default 32. */
  readonly tokens?: number | undefined
  /** Sequences that run at once; the others wait in order of arrival. Default 8. */
  readonly slots?: number | undefined
  /** Further time to the first token, per 1,000 uncached prompt tokens. Default 20 ms. */
  readonly prefill?: Duration.Duration | undefined
  /** By how much each further running sequence lengthens `itl`, relative to it. Default 0.05. */
  readonly slowdown?: number | undefined
  /** What the prefix cache holds, in tokens. Default 100,000; 0 turns it off. */
  readonly cacheTokens?: number | undefined
  /** The longest prompt, in tokens. Default 131,072. */
  readonly contextTokens?: number | undefined
  /** The share (0 to 1) of inference requests that are answered with 500. Default 0. */
  readonly failRate?: number | undefined
  /** What all that looks random follows from. Default 1. */
  readonly seed?: number | undefined
  /** With it, everything but `/health` and `/sim/*` asks for `Authorization: Bearer`. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** With it, the server speaks HTTPS. Both are PEM texts. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
}

/** The options with their defaults, times in milliseconds. */
export interface Settings {
  readonly engine: EngineName
  readonly host: string
  readonly port: number
  readonly name: string
  readonly models: ReadonlyArray<string>
  readonly ttft: number
  readonly itl: number
  readonly tokens: number
  readonly slots: number
  readonly prefill: number
  readonly slowdown: number
  readonly cacheTokens: number
  readonly contextTokens: number
  readonly failRate: number
  readonly seed: number
  readonly apiKey: Redacted.Redacted | undefined
  readonly tls: { readonly cert: string; readonly key: string } | undefined
}

export const settle = (options: SimulatorOptions): Settings => ({
  engine: options.engine ?? "vllm",
  host: options.host ?? "127.0.0.1",
  port: options.port ?? 0,
  name: options.name ?? "sim",
  models: options.models === undefined || options.models.length === 0 ? ["sim-model"] : options.models,
  ttft: millisOr(options.ttft, 50),
  itl: millisOr(options.itl, 10),
  tokens: Math.max(1, options.tokens ?? 32),
  slots: Math.max(1, options.slots ?? 8),
  prefill: millisOr(options.prefill, 20),
  slowdown: Math.max(0, options.slowdown ?? 0.05),
  cacheTokens: Math.max(0, options.cacheTokens ?? 100_000),
  contextTokens: Math.max(1, options.contextTokens ?? 131_072),
  failRate: options.failRate ?? 0,
  seed: options.seed ?? 1,
  apiKey: options.apiKey,
  tls: options.tls
})

const millisOr = (duration: Duration.Duration | undefined, otherwise: number): number =>
  duration === undefined ? otherwise : Duration.toMillis(duration)
