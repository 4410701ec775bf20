/** How engines say that a prompt is too long for a model, each in its own words. */
export const tooLong: ReadonlyArray<{ readonly engine: string; readonly status: number; readonly body: unknown }> = [
  {
    engine: "OpenAI",
    status: 400,
    body: {
      error: {
        message: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        type: "invalid_request_error",
        param: "messages",
        code: "context_length_exceeded"
      }
    }
  },
  {
    engine: "OpenAI, newer",
    status: 400,
    body: { error: { message: "Your input exceeds the limit.", code: "context_length_exceeded" } }
  },
  {
    engine: "vLLM",
    status: 400,
    body: {
      object: "error",
      message:
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages.",
      type: "BadRequestError",
      code: 400
    }
  },
  {
    engine: "vLLM, newer",
    status: 400,
    body: {
      error: { message: "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", code: 400 }
    }
  },
  {
    engine: "llama.cpp",
    status: 400,
    body: {
      error: {
        code: 400,
        message: "the request exceeds the available context size, try increasing it",
        type: "exceed_context_size_error",
        n_prompt_tokens: 9000,
        n_ctx: 4096
      }
    }
  },
  {
    engine: "SGLang",
    status: 400,
    body: {
      object: "error",
      message: "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
      type: "BadRequest",
      code: 400
    }
  },
  { engine: "Ollama", status: 400, body: { error: { message: "the input length exceeds the context length" } } },
  {
    engine: "Anthropic",
    status: 400,
    body: {
      type: "error",
      error: { type: "invalid_request_error", message: "prompt is too long: 210000 tokens > 200000 maximum" }
    }
  },
  {
    engine: "TGI",
    status: 422,
    body: {
      error: "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens",
      error_type: "validation"
    }
  },
  { engine: "a proxy in between", status: 413, body: { message: "prompt exceeds the context window" } }
]
