/**
 * How tools of the gpt-oss world name one model: `-low`, `-medium` and `-high` ask for an effort of reasoning, `-apply` and
 * `-edit` are continue.dev's names for its own jobs. None of them is part of the model's real name.
 */
export interface GptOssName {
  readonly model: string
  readonly effort: "low" | "medium" | "high" | undefined
  /** Asked for as a job of continue.dev. */
  readonly isJob: boolean
}

export const readGptOssName = (name: string): GptOssName => {
  const job = /^(.+)-(?:apply|edit)$/s.exec(name)?.[1]
  const asked = job ?? name
  const [, model, effort] = /^(.+)-(low|medium|high)$/s.exec(asked) ?? []
  return {
    model: model ?? asked,
    effort: effort === "low" || effort === "medium" || effort === "high" ? effort : undefined,
    isJob: job !== undefined
  }
}
