/** What may be called what: the names of configured things double as header values, metric labels and URL segments. */
import { Schema } from "effect"

/** The name of a backend, pool, listener or key: 1 to 64 visible ASCII characters that are safe in a header and a URL. */
export const Name = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/u, {
      message: "expected a name: 1 to 64 of A-Z a-z 0-9 . _ : -, beginning with a letter or a digit"
    })
  )
)

/** A header's name (RFC 9110 token). */
export const HeaderName = Schema.String.pipe(
  Schema.check(Schema.isPattern(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/u, { message: "expected a header name" }))
)

/** A header's value in one line. Line breaks and control characters are refused when the configuration is read. */
export const HeaderValue = Schema.String.pipe(
  Schema.check(Schema.isPattern(/^[\t\x20-\x7e\x80-\xff]+$/u, { message: "expected a header value in one line" }))
)
