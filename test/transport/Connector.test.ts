import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { type EgressPolicy, makeEgressPolicy } from "../../src/domain/EgressPolicy.ts"
import { makeConnector } from "../../src/transport/Connector.ts"
import { toUpstreamFailed } from "../../src/transport/TransportFailure.ts"
import type { UpstreamFailed } from "../../src/transport/UpstreamTransport.ts"
import { makeOrigin } from "./Origin.ts"

const open = makeEgressPolicy({ allowPrivateBackends: true, denyNetworks: [] })
const closed = makeEgressPolicy({ allowPrivateBackends: false, denyNetworks: [] })

const connect = (policy: () => EgressPolicy, hostname: string, port: number) =>
  Effect.acquireRelease(
    Effect.callback<Socket, UpstreamFailed>((resume) => {
      const connector = makeConnector(policy, 5000)
      connector(
        { hostname, host: `${hostname}:${port}`, protocol: "http:", port: String(port) },
        (...[error, socket]) => {
          resume(error === null ? Effect.succeed(socket) : Effect.fail(toUpstreamFailed(error)))
        }
      )
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const onOrigin = <A, E>(
  use: (port: number, accepted: () => number) => Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E> => Effect.scoped(Effect.flatMap(makeOrigin, ({ accepted, port }) => use(port, accepted)))

describe("a connection", () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    it.live(`is opened to ${host}`, () =>
      onOrigin((port) =>
        Effect.gen(function* () {
          const socket = yield* connect(() => open, host, port)
          assert.strictEqual(socket.remotePort, port)
        })
      )
    )
  }

  for (const host of [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "fd00:ec2::254",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "metadata.google.internal",
    "METADATA.google.internal."
  ]) {
    it.live(`is never opened to ${host}, where clouds hand out credentials`, () =>
      Effect.gen(function* () {
        const failed = yield* Effect.flip(connect(() => open, host, 80))
        assert.strictEqual(failed.kind, "refused")
      }).pipe(Effect.scoped)
    )
  }

  for (const host of ["127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "[::1]"]) {
    it.live(`is not opened to ${host} where private addresses are not allowed`, () =>
      onOrigin((port, accepted) =>
        Effect.gen(function* () {
          const failed = yield* Effect.flip(connect(() => closed, host, port))
          assert.strictEqual(failed.kind, "refused")
          assert.strictEqual(accepted(), 0)
        })
      )
    )
  }

  it.live("is decided on each time: what may be connected to can change", () =>
    onOrigin((port, accepted) =>
      Effect.gen(function* () {
        let policy = open
        yield* connect(() => policy, "localhost", port)
        policy = closed
        assert.strictEqual((yield* Effect.flip(connect(() => policy, "localhost", port))).kind, "refused")
        assert.strictEqual(accepted(), 1)
      })
    )
  )

  it.live("a connection to a name that does not exist fails as one", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(connect(() => open, "no-such-host.invalid", 80))
      assert.strictEqual(failed.kind, "connect")
    }).pipe(Effect.scoped)
  )
})
