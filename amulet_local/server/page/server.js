// Talks to the server: requests, streams, and what went wrong in words for people.
// Knows nothing about the page. Every address is relative, so that a proxy may add a prefix.

import { visible } from "./text.js";

const MAX_MESSAGE = 400;

/** What went wrong. kind: "unreachable", "key", "busy", "refused", "broken". */
export class ServerError extends Error {
  constructor(kind, message, retryAfter = 0) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter; // seconds
  }
}

export class Server {
  #key = "";
  #asking = null;
  #refusals = 0; // how often the person had no key

  /** askForKey: resolves with a key, or with "" where the person has none. */
  constructor(askForKey) {
    this.askForKey = askForKey;
  }

  get hasKey() {
    return this.#key !== "";
  }

  async get(path) {
    const response = await this.#send(path, {});
    return this.#json(response);
  }

  /** Change a running answer from its next token on. */
  async control(fields) {
    await this.#send("v1/amulet/control", { body: fields });
  }

  /** What somebody says of an answer; resolves with what was learned from it. */
  async feedback(fields) {
    return this.#json(await this.#send("v1/amulet/feedback", { body: fields }));
  }

  /** The chunks of a chat completion as they come. */
  async *chat(body, signal) {
    const response = await this.#send("v1/chat/completions", { body, signal });
    let isComplete = false;
    for await (const data of events(response, signal)) {
      if (data === "[DONE]") return;
      const chunk = parsed(data);
      if (chunk.error) throw new ServerError("broken", messageOf(chunk) || "The answer broke off.");
      isComplete ||= Boolean(chunk.choices?.[0]?.finish_reason);
      yield chunk;
    }
    if (!isComplete) {
      throw new ServerError("broken", "The connection ended before the answer did.");
    }
  }

  async #send(path, { body, signal }) {
    for (;;) {
      const sent = this.#key;
      const refusals = this.#refusals;
      const response = await this.#fetch(path, body, signal);
      if (response.ok) return response;
      const problem = await problemOf(response, sent !== "");
      if (problem.kind !== "key") throw problem;
      // Two requests at once ask once, and one that was sent with an older key is sent anew.
      if (sent !== this.#key) continue;
      if (refusals !== this.#refusals) throw problem;
      this.#asking ??= this.askForKey(sent !== "").finally(() => (this.#asking = null));
      const key = await this.#asking;
      if (key) this.#key = key;
      else this.#refusals += 1;
      if (signal?.aborted || !key) throw problem;
    }
  }

  async #fetch(path, body, signal) {
    const headers = {};
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    if (body) headers["Content-Type"] = "application/json";
    try {
      return await fetch(path, {
        method: body ? "POST" : "GET",
        headers,
        body: body && JSON.stringify(body),
        signal,
        cache: "no-store",
        redirect: "error",
      });
    } catch (error) {
      throw broken(error, signal, "unreachable");
    }
  }

  async #json(response) {
    try {
      return await response.json();
    } catch {
      throw new ServerError("broken", "The server's answer isn't JSON. Is this its address?");
    }
  }
}

/** The data of server-sent events, as the HTML standard has it, the empty ones left out. */
async function* events(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } catch (error) {
    throw broken(error, signal, "broken");
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new ServerError("broken", "The server sent something that isn't JSON.");
  }
}

function broken(error, signal, kind) {
  if (signal?.aborted || error instanceof ServerError) return error;
  const message =
    kind === "broken"
      ? "The connection ended before the answer did."
      : "The server can't be reached. Is it still running?";
  return new ServerError(kind, message);
}

function messageOf(body) {
  const message = body?.error?.message ?? body?.detail;
  return typeof message === "string" ? visible(message).slice(0, MAX_MESSAGE) : "";
}

async function problemOf(response, hadKey) {
  const said = messageOf(await response.json().catch(() => null));
  const { status } = response;
  if (status === 401) {
    const text = hadKey ? "The server doesn't take this API key." : "This server asks for an API key.";
    return new ServerError("key", text);
  }
  if (status === 503 || status === 429) {
    const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    const retryAfter = Number.isFinite(wait) ? Math.min(60, Math.max(1, wait)) : 2;
    return new ServerError("busy", said || "The server is busy.", retryAfter);
  }
  if (status === 404) return new ServerError("refused", said || "The server doesn't know this.");
  const text = status < 500 ? "The server refused this request" : "Something failed in the server";
  return new ServerError("refused", said ? `${text}: ${said}` : `${text} (status ${status}).`);
}
