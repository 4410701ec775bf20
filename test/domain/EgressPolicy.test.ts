import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { makeEgressPolicy, makeProxyPolicy } from "../../src/domain/EgressPolicy.ts"
import { holdsFor } from "../Property.ts"

const open = makeEgressPolicy({ allowPrivateBackends: true, denyNetworks: [] })
const closed = makeEgressPolicy({ allowPrivateBackends: false, denyNetworks: [] })

/** As a configuration's address is read: what a URL makes of the host. */
const hostIn = (host: string): string => new URL(`http://${host}/`).hostname

describe("a metadata service", () => {
  const spellings = [
    "169.254.169.254",
    // As one number, in three, in two; in octal and hexadecimal; as full-width digits; percent-encoded.
    "2852039166",
    "169.254.43518",
    "169.16689662",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "025177524776",
    "0x00a9.254.0251.254",
    "１６９.254.169.254",
    "%31%36%39.254.169.254",
    "169.254.169.254.",
    // Wrapped in IPv6: mapped, compatible, translated, NAT64 (both prefixes), 6to4, Teredo (server, client), ISATAP.
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[::ffff:0:169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:a9fe:a9fe::1]",
    "[2001::5601:5601]",
    "[fe80::5efe:a9fe:a9fe]",
    "[2001:db8::200:5efe:169.254.169.254]",
    // Other clouds, and containers.
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[FD00:0EC2:0:0:0:0:0:254]",
    "[fd00:ec2::23]",
    // The same over IPv6, in short, at length, in capitals and with leading zeros.
    "[fd20:ce::254]",
    "[FD20:00CE:0000:0000:0000:0000:0000:0254]",
    "[fd20:ce:0:0::254]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:c1::169.254.169.254]",
    "[FD00:00C1:0:0:0:0:A9FE:A9FE]",
    "[fd00:42::42]",
    "[FD00:42:0:0:0:0:0:42]",
    "[fd00:a9fe:a9fe::1]",
    "[fd00:A9FE:a9fe:0:0:0:0:1]",
    "[fd00:100::100:200]",
    "[FD00:0100:0:0:0:0:0100:0200]",
    "[fe80::a9fe:a9fe]",
    "[FE80:0:0:0:0:0:169.254.169.254]",
    "metadata.google.internal",
    "Metadata.Google.Internal.",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.us-west-2.compute.internal",
    "metadata.tencentyun.com",
    "METADATA.tencentyun.com.",
    "api.metadata.cloud.ibm.com",
    "metadata.exoscale.com",
    "metadata.packet.net",
    "metadata.platformequinix.com"
  ]
  for (const host of spellings) {
    it(`is refused however it is spelt: ${host}`, () => {
      assert.strictEqual(open.refuseHost(hostIn(host)), "is the metadata service of a cloud")
    })
  }

  it("is refused where a name turns out to mean it, with a zone and without", () => {
    for (const address of [
      "169.254.169.254",
      "::ffff:169.254.169.254",
      "fe80::a9fe:a9fe%eth0",
      "FE80:0:0:0:0:0:A9FE:A9FE%2",
      "fd00:ec2::254",
      "fd20:ce::254",
      "FD00:C1:0:0::A9FE:A9FE",
      "fd00:42::42"
    ]) {
      assert.isDefined(open.refuseAddress(address), address)
    }
  })

  it("is refused whatever the configuration allows, for a proxy too", () => {
    const policy = makeProxyPolicy({ allowPrivateBackends: true, denyNetworks: [] })
    for (const host of spellings) assert.isDefined(policy.refuseHost(hostIn(host)), host)
  })
})

describe("other addresses", () => {
  for (const host of [
    "127.0.0.1",
    "localhost",
    "10.1.2.3",
    "192.168.0.1",
    "100.64.0.1",
    "8.8.8.8",
    "[::1]",
    "[fd00::1]",
    "[2606:4700::1111]",
    "api.openai.com",
    "metadata.example.com",
    "169.253.169.254"
  ]) {
    it(`are not looked into: ${host}`, () => assert.isUndefined(open.refuseHost(hostIn(host))))
  }

  for (const host of [
    "127.0.0.1",
    "127.1",
    "0.0.0.0",
    "0",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "[::]",
    "[::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]"
  ]) {
    it(`are refused where they are private and none may be: ${host}`, () => {
      assert.include(closed.refuseHost(hostIn(host)), "is in a private network")
    })
  }

  it("may be public where private ones are not allowed, and a proxy may be private all the same", () => {
    for (const host of ["8.8.8.8", "[2606:4700::1111]", "172.32.0.1", "api.openai.com"]) {
      assert.isUndefined(closed.refuseHost(hostIn(host)), host)
    }
    assert.isUndefined(makeProxyPolicy({ allowPrivateBackends: false, denyNetworks: [] }).refuseHost("10.0.0.1"))
  })

  it("are refused where they are denied by name of their network, also wrapped in another", () => {
    const policy = makeEgressPolicy({ allowPrivateBackends: true, denyNetworks: ["192.0.2.0/24", "2001:db8::1"] })
    for (const host of ["192.0.2.9", "[::ffff:192.0.2.9]", "[64:ff9b::c000:209]", "[2001:db8::1]"]) {
      assert.strictEqual(policy.refuseHost(hostIn(host)), "is in one of security.denyNetworks", host)
    }
    for (const host of ["192.0.3.9", "[2001:db8::2]"]) assert.isUndefined(policy.refuseHost(hostIn(host)), host)
    const proxies = makeProxyPolicy({ allowPrivateBackends: true, denyNetworks: ["192.0.2.0/24"] })
    assert.isDefined(proxies.refuseHost("192.0.2.9"))
  })
})

describe("any address", () => {
  const denied = makeEgressPolicy({ allowPrivateBackends: true, denyNetworks: ["198.51.100.0/24"] })
  const networks = fc.constantFrom<readonly [number, number, number]>([198, 51, 100], [198, 51, 101], [203, 0, 113])

  it("is judged alike in every spelling and every wrapping", () => {
    holdsFor(fc.tuple(networks, fc.nat({ max: 255 })), ([[a, b, c], d]) => {
      const expected = denied.refuseHost(`${a}.${b}.${c}.${d}`)
      assert.strictEqual(expected === undefined, c !== 100)
      const [high, low] = [(a << 8) | b, (c << 8) | d].map((word) => word.toString(16))
      const number = ((a * 256 + b) * 256 + c) * 256 + d
      const spellings = [
        `${number}`,
        `0x${number.toString(16)}`,
        `0${number.toString(8)}`,
        `${a}.${b}.${c * 256 + d}`,
        `[::ffff:${high}:${low}]`,
        `[::${high}:${low}]`,
        `[64:ff9b::${high}:${low}]`,
        `[2002:${high}:${low}::5]`
      ]
      for (const host of spellings) assert.strictEqual(denied.refuseHost(hostIn(host)), expected, host)
    })
  })

  it("any text gives an answer", () => {
    holdsFor(fc.string(), (text) => {
      assert.include(["undefined", "string"], typeof denied.refuseHost(text))
    })
  })
})
