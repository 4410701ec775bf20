/** Looking into JSON whose shape is the client's affair. */

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const field = (value: unknown, key: string): unknown =>
  isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined

export const textOr = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise)
