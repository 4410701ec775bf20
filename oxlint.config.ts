import { defineConfig } from "oxlint"

/**
 * The house: which room may know which. `faces` are the files of a room that others may import; everything else in
 * a room is its own affair. The arrows only point downward; src/README.md draws them.
 */
const rooms: Record<string, { readonly faces: ReadonlyArray<string>; readonly knows: ReadonlyArray<string> }> = {
  domain: { faces: ["*"], knows: [] },
  telemetry: { faces: ["Telemetry", "Shortages"], knows: ["domain"] },
  protocol: { faces: ["*"], knows: ["domain"] },
  config: { faces: ["ConfigLoader"], knows: ["domain", "telemetry", "protocol"] },
  registry: { faces: ["Registry", "BackendGauges", "ModelLabels"], knows: ["domain", "telemetry", "protocol"] },
  reload: { faces: ["LogFollower", "Reloader", "Triggers"], knows: ["domain", "telemetry", "config", "registry"] },
  routing: { faces: ["Router"], knows: ["domain", "telemetry", "protocol", "registry"] },
  transport: { faces: ["UpstreamTransport", "UndiciTransport", "Body"], knows: ["domain", "telemetry", "registry"] },
  scheduler: { faces: ["Scheduler"], knows: ["domain", "telemetry", "registry", "routing"] },
  resilience: {
    faces: [
      "Admission",
      "CircuitBreaker",
      "HedgePolicy",
      "OutlierDetector",
      "QueueGauges",
      "RateLimiter",
      "RetryPolicy",
      "Timers"
    ],
    knows: ["domain", "telemetry", "registry"]
  },
  backend: { faces: ["BackendAdapter"], knows: ["domain", "telemetry", "protocol", "registry", "transport"] },
  health: { faces: ["HealthProber"], knows: ["domain", "telemetry", "registry", "transport", "backend"] },
  proxy: {
    faces: ["Proxy"],
    knows: ["domain", "telemetry", "protocol", "registry", "routing", "transport", "scheduler", "resilience", "backend"]
  },
  http: { faces: ["HttpFrontend"], knows: ["domain", "telemetry", "protocol", "registry", "resilience", "proxy"] },
  sim: { faces: ["Simulator"], knows: [] },
  bench: { faces: ["LoadHarness"], knows: [] },
  demo: { faces: ["Demo"], knows: ["domain", "config", "sim"] },
  cli: {
    faces: ["Weir"],
    knows: [
      "domain",
      "telemetry",
      "protocol",
      "config",
      "registry",
      "reload",
      "routing",
      "transport",
      "scheduler",
      "resilience",
      "backend",
      "health",
      "proxy",
      "http",
      "sim",
      "bench",
      "demo"
    ]
  }
}

/** One name for everything: all of it would be loaded, Redis and all, at every start. */
const paths = [
  { name: "@effect/platform-node", message: "Import the module itself: @effect/platform-node/NodeHttpServer" }
]

/** For one room: every other room is closed, then the faces of those that it may know are opened again. */
const boundary = (room: string) => {
  const open = rooms[room]?.knows ?? []
  const others = Object.keys(rooms).filter((other) => other !== room)
  const group = others.flatMap((other) => {
    const inside = `**/${other}/**`
    if (!open.includes(other)) return [inside]
    const faces = rooms[other]?.faces ?? []
    return faces.includes("*") ? [] : [inside, ...faces.map((face) => `!**/${other}/${face}.ts`)]
  })
  const message = `src/${room} may only know the faces of: ${open.join(", ") || "nobody"}`
  return defineConfig({
    overrides: [
      {
        files: [`src/${room}/**`],
        rules: { "no-restricted-imports": ["error", { patterns: [{ group, message }], paths }] }
      }
    ]
  }).overrides
}

export default defineConfig({
  plugins: ["typescript", "import", "unicorn", "vitest", "node"],
  categories: { correctness: "error", suspicious: "error" },
  ignorePatterns: ["dist/**", "node_modules/**", "test/cases/*.mjs"],
  rules: {
    "import/no-cycle": "error",
    "import/no-default-export": "error",
    "typescript/consistent-type-imports": "error",
    "typescript/no-explicit-any": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/ban-ts-comment": "error",
    "no-console": "error",
    "no-shadow": "off",
    // The compiler's noImplicitReturns knows when a switch is exhaustive.
    "typescript/consistent-return": "off",
    "no-underscore-dangle": "off",
    "unicorn/no-array-for-each": "error"
  },
  overrides: [
    ...Object.keys(rooms).flatMap((room) => boundary(room) ?? []),
    { files: ["test/**"], rules: { "unicorn/consistent-function-scoping": "off" } },
    { files: ["*.config.ts"], rules: { "import/no-default-export": "off" } }
  ]
})
