import { Effect } from "effect"
import { Exposition } from "../../telemetry/Telemetry.ts"
import { text } from "../Responses.ts"
import type { BuiltinRoute } from "./BuiltinRoutes.ts"

/** `GET /metrics`, without a token where `admin.publicMetrics` says so. */
export const metricsRoute = (exposition: Exposition["Service"], isPublic: () => boolean): BuiltinRoute => ({
  route: "/metrics",
  get access() {
    return isPublic() ? "public" : "admin"
  },
  methods: { GET: () => Effect.map(exposition.text, (body) => text(body, Exposition.contentType)) }
})
