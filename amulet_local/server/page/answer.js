// An answer as it comes: its text, token by token where they are traced, and its figures.
// Knows nothing about requests. Tokens are appended and never made anew; only their look changes.

import { dress } from "./markdown.js";
import { element, moved, onPage, seconds, short, step, visible } from "./text.js";

const FIGURES_EVERY = 250; // milliseconds

/** How strongly an answer was steered in fact, as the command line says it. */
export function appliedInWords({ mean_scale, lowest_scale, highest_scale, mean_kl }) {
  const [mean, low, high] = [mean_scale, lowest_scale, highest_scale].map((value) => short(value));
  const scale = low === high ? high : `${mean} (${low} to ${high})`;
  const divergence = mean_kl ? `, KL ${short(mean_kl, 2)} nats a token` : "";
  return `guidance scale ${scale}${divergence}`;
}

/**
 * The text of each token of a chunk. Parts of a character have none but the last, which has it all;
 * together they are always the chunk's text.
 */
export function pieces(tokens, content) {
  const texts = tokens.map(() => "");
  let rest = content;
  let open = -1; // the last token before this one whose text isn't known yet
  tokens.forEach(({ text }, i) => {
    const at = text && !text.includes("\ufffd") ? rest.indexOf(text) : -1;
    if (at < 0) {
      open = i;
      return;
    }
    texts[at > 0 && open >= 0 ? open : i] += rest.slice(0, at);
    texts[i] += rest.slice(at, at + text.length);
    rest = rest.slice(at + text.length);
    open = -1;
  });
  if (rest && tokens.length) texts[open < 0 ? tokens.length - 1 : open] += rest;
  return texts;
}

function counted(n) {
  return `${n} token${n === 1 ? "" : "s"}`;
}

export class Answer {
  #count; // tokens so far
  #begun; // when the first came
  #waiting; // what the next frame will show
  #reasoning;
  #isEmpty;
  #parts; // { node, text, shown } of the answer, in order
  #frame = 0;
  #shownAt = 0;

  /** root: the panel, with elements of the classes earlier, text, figures, applied and note in it. */
  constructor(root) {
    this.root = root;
    this.rows = []; // what to call the preference rows of the tokens that come
    this.earlier = root.querySelector(".earlier");
    this.text = root.querySelector(".text");
    this.figures = root.querySelector(".figures");
    this.applied = root.querySelector(".applied");
    this.note = root.querySelector(".note");
    this.clear("");
  }

  clear(hint) {
    this.tokens = []; // { token, text, rows, span }
    this.content = ""; // the answer's text as the server sent it, without reasoning
    this.speed = null; // tokens per second, once the answer is complete
    this.#count = 0;
    this.#begun = null;
    this.#waiting = document.createDocumentFragment();
    this.#reasoning = null;
    this.#parts = [];
    this.text.replaceChildren(element("p", "hint", hint));
    this.#isEmpty = true;
    this.figures.textContent = "";
    this.applied.textContent = "";
    this.say("");
    this.root.classList.remove("running", "failed");
  }

  begin() {
    this.clear("");
    this.root.classList.add("running");
    this.figures.textContent = "reading the question";
  }

  /** A line below the answer. kind: "", "warning" or "error". */
  say(text, kind = "") {
    this.note.textContent = text;
    this.note.className = `note ${kind}`;
    this.note.setAttribute("role", kind === "error" ? "alert" : "status");
  }

  push(chunk) {
    const choice = chunk.choices?.[0];
    if (!choice) return;
    const named = chunk.amulet?.preferences ?? choice.amulet?.preferences;
    if (named) this.rows = named;
    const { content, reasoning_content: reasoning } = choice.delta ?? {};
    const tokens = choice.amulet?.tokens ?? [];
    if (reasoning) this.#append(tokens, reasoning, true);
    this.content += content ?? "";
    if (content) this.#append(reasoning ? [] : tokens, content, false);
  }

  /** last: the chunk with timings; warnings are shown below the answer. */
  end(last, reason) {
    this.#flush();
    this.root.classList.remove("running");
    const timings = last?.timings;
    if (timings) this.#showTimings(timings);
    else this.#showProgress();
    const applied = last?.amulet?.applied;
    this.applied.textContent = applied ? appliedInWords(applied) : "";
    if (this.#isEmpty) this.text.replaceChildren(element("p", "hint", "(an empty answer)"));
    const warnings = [...(last?.amulet?.warnings ?? [])];
    const n = last?.timings?.predicted_n ?? this.#count;
    if (reason === "length") warnings.unshift(`Cut off after ${counted(n)}.`);
    if (reason === "cancelled") warnings.unshift("Stopped.");
    this.say(warnings.map(onPage).join(" "), "warning");
  }

  /** Another text in its place: what a person made of it. It has no tokens. */
  rewrite(text) {
    const node = element("span", "", visible(text));
    this.tokens = [];
    this.content = text;
    this.#parts = [{ node, text: node.textContent, shown: "" }];
    dress(this.#parts);
    this.text.replaceChildren(node);
  }

  fail(message) {
    this.#flush();
    this.root.classList.remove("running");
    this.root.classList.add("failed");
    if (this.#isEmpty) this.figures.textContent = "";
    this.say(message, "error");
  }

  wait(text) {
    this.figures.textContent = text;
  }

  #append(tokens, content, isReasoning) {
    this.#begun ??= performance.now();
    this.#count += tokens.length || 1;
    if (tokens.length === 0) this.#queue(element("span", "", visible(content)), isReasoning);
    pieces(tokens, content).forEach((text, i) => {
      this.#queue(this.#token(tokens[i], text), isReasoning);
    });
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #token(token, text) {
    const strength = step(moved(token));
    const tint = strength > 0 ? ` up${strength}` : strength < 0 ? ` down${-strength}` : "";
    const span = element("span", `t${tint}`, visible(text));
    if (text === "") span.classList.add("part");
    if (text.startsWith("\n")) span.classList.add("line");
    span.dataset.i = this.tokens.length;
    this.tokens.push({ token, text: text || token.text, rows: this.rows, span });
    return span;
  }

  #queue(node, isReasoning) {
    if (isReasoning) {
      if (!this.#reasoning) {
        this.#reasoning = element("div", "reasoning");
        this.#waiting.append(this.#reasoning);
      }
      this.#reasoning.append(node);
    } else {
      this.#parts.push({ node, text: node.textContent, shown: "" });
      this.#waiting.append(node);
    }
  }

  #flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#waiting.hasChildNodes()) {
      if (this.#isEmpty) this.text.replaceChildren();
      this.#isEmpty = false;
      dress(this.#parts);
      this.text.append(this.#waiting);
    }
    if (performance.now() - this.#shownAt > FIGURES_EVERY) this.#showProgress();
  }

  #showProgress() {
    if (this.#count === 0) return;
    this.#shownAt = performance.now();
    const passed = (this.#shownAt - this.#begun) / 1000;
    const speed = passed > 0.3 ? ` · ${short((this.#count - 1) / passed)} tokens/s` : "";
    this.figures.textContent = `${counted(this.#count)}${speed}`;
  }

  #showTimings({ predicted_n: n, predicted_per_second: speed, prompt_ms: prompt }) {
    this.speed = speed > 0 ? speed : null;
    const parts = [counted(n)];
    if (speed > 0) parts.push(`${short(speed)} tokens/s`);
    if (prompt >= 0) parts.push(`prompt ${seconds(prompt)}`);
    this.figures.textContent = parts.join(" · ");
  }
}
