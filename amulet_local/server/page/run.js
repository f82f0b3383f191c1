// One answer from its request to its end: waits where the server is busy, passes changes on, stops.
// Knows nothing about the page but the Answer that it fills.

const MAX_WAITS = 5;
const STOP_WITHIN = 1000; // milliseconds until a stop that the server hasn't answered is a hang-up

export class Run {
  #abort = new AbortController();
  #body;
  #id = null;
  #change = null; // fields that the server hasn't been told yet
  #isTelling = false;
  #isStopped = false;
  #isDropped = false;
  #wake = null;

  constructor(server, answer, body) {
    this.server = server;
    this.answer = answer;
    this.#body = body;
    this.error = null;
    this.isOver = false;
  }

  get wasStopped() {
    return this.#isStopped;
  }

  /** Resolves when the answer is over, however it ended; never rejects. */
  async start() {
    if (this.#isDropped) return this;
    this.answer.begin();
    for (let waits = 0; ; waits += 1) {
      try {
        await this.#once();
        break;
      } catch (error) {
        if (this.#isDropped) break;
        if (this.#isStopped) {
          this.answer.end(null, "cancelled");
          break;
        }
        if (error.kind !== "busy" || waits === MAX_WAITS) {
          this.error = error;
          this.answer.fail(messageOf(error));
          break;
        }
        await this.#wait(error);
      }
    }
    this.isOver = true;
    return this;
  }

  /** Other values of some fields, from the next token on; body: where it has to be sent again. */
  change(fields, body) {
    if (this.isOver) return;
    this.#body = body;
    this.#change = fields;
    this.#tell();
  }

  /** Another answer takes this one's place, now. */
  drop() {
    this.#isDropped = this.#isStopped = true;
    this.#wake?.();
    this.#abort.abort();
  }

  stop() {
    if (this.isOver || this.#isStopped) return;
    this.#isStopped = true;
    this.#wake?.();
    if (this.#id === null) {
      this.#abort.abort();
      return;
    }
    // The server ends the stream itself, with its timings; if it doesn't, hang up.
    this.server.control({ id: this.#id, cancel: true }).catch(() => this.#abort.abort());
    setTimeout(() => this.#abort.abort(), STOP_WITHIN);
  }

  async #once() {
    if (this.#isStopped) throw new DOMException("stopped", "AbortError");
    let last = null;
    let reason = "";
    this.#id = null;
    for await (const chunk of this.server.chat(this.#body, this.#abort.signal)) {
      if (chunk.id && this.#id === null) {
        this.#id = chunk.id;
        this.#tell();
      }
      if (this.#isDropped) return;
      this.answer.push(chunk);
      reason = chunk.choices?.[0]?.finish_reason || reason;
      if (chunk.timings) last = chunk;
    }
    if (!this.#isDropped) this.answer.end(last, this.#isStopped ? "cancelled" : reason);
  }

  /** One message at a time, and of several changes meanwhile only the last. */
  async #tell() {
    if (this.#isTelling || this.#id === null || this.#change === null) return;
    this.#isTelling = true;
    const fields = this.#change;
    this.#change = null;
    try {
      await this.server.control({ id: this.#id, ...fields });
    } catch (error) {
      // An answer that has just ended can't be changed any more, and needn't be.
      if (!this.isOver && !this.#isStopped) this.answer.say(messageOf(error), "warning");
    }
    this.#isTelling = false;
    this.#tell();
  }

  async #wait(error) {
    for (let left = error.retryAfter; left > 0 && !this.#isStopped; left -= 1) {
      this.answer.wait(`the server is busy: trying again in ${left} s`);
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 1000);
      });
    }
    if (!this.#isStopped) this.answer.wait("trying again");
  }
}

function messageOf(error) {
  if (error.kind === "busy") return `${error.message} Try again in a moment.`;
  return error.kind ? error.message : `Something failed in this page: ${error.message}`;
}
