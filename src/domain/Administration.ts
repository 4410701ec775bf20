/**
 * The paths by which engines are administered: models loaded, replaced and deleted, caches emptied, generation paused,
 * weights changed, profiles taken, secrets and files read. `listeners[].passThrough` decides which clients reach them.
 *
 * A path stands for itself under any prefix, `/v1` among them: engines are mounted under prefixes, and proxies in front
 * of engines have their own. `*` at the end stands for anything, of the name or below it.
 */
import { readingsOf } from "./PathSpelling.ts"

export interface Administration {
  readonly engine: string
  /** Refused whatever the method: engines take GET for many of them. */
  readonly actions: ReadonlyArray<string>
  /** May be read (GET, HEAD, OPTIONS); every other method changes something. */
  readonly resources: ReadonlyArray<string>
}

/** The one table, after the routes in the engines' own sources and documentation. */
export const administration: ReadonlyArray<Administration> = [
  {
    engine: "Ollama",
    actions: [
      "/api/delete",
      "/api/pull",
      "/api/push",
      "/api/create",
      "/api/copy",
      "/api/me",
      "/api/signout",
      "/api/user/keys/*"
    ],
    resources: ["/api/blobs/*"]
  },
  {
    engine: "vLLM",
    actions: [
      "/load_lora_adapter",
      "/unload_lora_adapter",
      "/sleep",
      "/wake_up",
      "/pause",
      "/resume",
      "/abort_requests",
      "/reset_prefix_cache",
      "/reset_mm_cache",
      "/reset_encoder_cache",
      "/start_profile",
      "/stop_profile",
      "/collective_rpc",
      "/scale_elastic_ep",
      "/fault_tolerance/apply",
      "/reload_weights",
      "/init_weight_transfer_engine",
      "/start_weight_update",
      "/start_draft_weight_update",
      "/finish_weight_update",
      "/update_weights",
      "/update_weight_version",
      "/weight_checker",
      // Tells its arguments and environment.
      "/server_info"
    ],
    resources: []
  },
  {
    engine: "SGLang",
    actions: [
      "/flush_cache",
      "/clear_hicache_storage_backend",
      "/hicache/*",
      "/add_external_corpus",
      "/remove_external_corpus",
      "/start_trace",
      "/stop_trace",
      "/set_trace_level",
      "/freeze_gc",
      "/dumper/*",
      "/start_expert_distribution_record",
      "/stop_expert_distribution_record",
      "/dump_expert_distribution_record",
      "/load_lora_adapter_from_tensors",
      "/update_weights*",
      "/init_weights_update_group",
      "/destroy_weights_update_group",
      "/init_weights_send_group_for_remote_instance",
      "/send_weights_to_remote_instance",
      "/get_weights_by_name",
      "/weights_checker",
      "/release_memory_occupation",
      "/resume_memory_occupation",
      "/pause_generation",
      "/continue_generation",
      "/abort_request",
      "/set_internal_state",
      "/configure_logging",
      "/slow_down",
      "/open_session",
      "/close_session",
      // Tell its arguments, the API key among them.
      "/get_server_info",
      "/get_server_args"
    ],
    resources: []
  },
  {
    engine: "llama.cpp",
    actions: ["/models/load", "/models/unload", "/chat/completions/control", "/cors-proxy"],
    resources: ["/slots", "/slots/*", "/props", "/lora-adapters", "/models", "/tools"]
  },
  {
    engine: "LM Studio",
    actions: ["/models/download"],
    resources: []
  },
  {
    engine: "LocalAI",
    actions: [
      "/models/apply",
      "/models/delete/*",
      "/models/import",
      "/models/import-uri",
      "/models/reload",
      "/models/toggle-state/*",
      "/models/toggle-pinned/*",
      "/backends/apply",
      "/backends/delete/*",
      "/backends/upgrade/*",
      "/backend/shutdown",
      "/api/p2p/token",
      "/api/cors-proxy"
    ],
    resources: ["/models/edit/*", "/models/config-json/*", "/api/settings"]
  },
  {
    engine: "llama-swap",
    actions: ["/unload", "/models/unload/*"],
    resources: []
  },
  {
    engine: "TabbyAPI",
    actions: [
      "/v1/model/load",
      "/v1/model/unload",
      "/v1/model/draft/*",
      "/v1/model/embedding/*",
      "/v1/lora/load",
      "/v1/lora/unload",
      "/v1/template/switch",
      "/v1/template/unload",
      "/v1/sampling/override/*",
      "/v1/download"
    ],
    resources: []
  },
  {
    engine: "Triton",
    actions: ["/v2/repository/*", "/v2/systemsharedmemory/*", "/v2/cudasharedmemory/*"],
    resources: ["/trace/setting", "/v2/logging"]
  }
]

interface Pattern {
  /** In front of the name, the nearest first. */
  readonly before: ReadonlyArray<string>
  /** Whether more may follow. */
  readonly open: boolean
  readonly readable: boolean
}

/** By the last segment that is a name; those whose names may go on are looked through one by one. */
const patterns = new Map<string, Array<Pattern>>()
const beginnings = new Map<string, Array<Pattern>>()

const add = (path: string, readable: boolean): void => {
  const segments = path.split("/").slice(1)
  const open = segments.at(-1) === "*"
  if (open) segments.pop()
  const name = segments.pop() ?? ""
  const begins = name.endsWith("*")
  const known = begins ? beginnings : patterns
  const key = begins ? name.slice(0, -1) : name
  known.set(key, [...(known.get(key) ?? []), { before: segments.toReversed(), open, readable }])
}

for (const { actions, resources } of administration) {
  for (const path of actions) add(path, false)
  for (const path of resources) add(path, true)
}

const reads = new Set(["GET", "HEAD", "OPTIONS"])

/** Whether a request would administer an engine, in whatever way its path is spelled and read. */
export const administers = (method: string, path: string): boolean => {
  const isRead = reads.has(method)
  return readingsOf(path).some((reading) => {
    const segments = reading.filter((segment) => segment !== "")
    return segments.some((name, at) => matchesOf(name).some((each) => isMeant(each, segments, at, isRead)))
  })
}

const matchesOf = (name: string): ReadonlyArray<Pattern> => {
  const found = patterns.get(name) ?? []
  const begun = [...beginnings].flatMap(([beginning, each]) => (name.startsWith(beginning) ? each : []))
  return begun.length === 0 ? found : [...found, ...begun]
}

const isMeant = (
  { before, open, readable }: Pattern,
  segments: ReadonlyArray<string>,
  at: number,
  isRead: boolean
): boolean =>
  (open ? at < segments.length - 1 : at === segments.length - 1) &&
  !(readable && isRead) &&
  before.every((name, index) => segments[at - 1 - index] === name)
